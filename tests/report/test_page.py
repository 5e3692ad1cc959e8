"""The report: self-contained, escaped, the same bytes twice."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from ditscope.errors import InputError
from ditscope.plots._sheet import png, svg
from ditscope.plots._text import DASH, MINUS
from ditscope.report import Report
from ditscope.report.formatting import number

HOSTILE = '<script>alert("x")</script> & <img src=x onerror=alert(1)> \' " `</code><b>` **<i>** \x00'
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self._open[-1:] == [tag], f"</{tag}> closes nothing"
        self._open.pop()

    def handle_data(self, data) -> None:
        self.text.append(data)

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def small_figure(level: float = 1.0) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, level])
    return figure


def build(text: str = "plain") -> Report:
    report = Report(f"Title {text}", f"Subtitle {text}").key_number("0.86", f"IoU {text}")
    section = report.section(f"Section {text}")
    section.text(f"One {text}.\n\nTwo.").code(f"ditscope demo {text}")
    section.figure(small_figure(), f"Caption {text}", name="curve")
    section.table(pd.DataFrame({f"prompt {text}": [text], "psnr": [12.3456]}), f"Table {text}")
    section.finding(f"Statement {text}", f"Means {text}", f"Not {text}")
    report.provenance({f"key {text}": text, "versions": {"torch": "2.13.0"}, "seeds": [0, 1]})
    return report


def test_page_asks_for_nothing_outside_itself(tmp_path) -> None:
    page = build().write(tmp_path).read_text(encoding="utf-8")
    parsed = Page(page)
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            inside = ("data:image/svg+xml;base64,", "#")
            assert value is None or value.startswith(inside) or (tag, value) == ("a", "curve.png"), (
                tag,
                name,
                value,
            )
    assert not parsed.names() & {"script", "link", "iframe", "object", "base", "form"}
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page
    assert "@import" not in page


def test_contents_point_at_sections_that_are_there() -> None:
    report = build()
    report.section("Another")
    parsed = Page(report.html())
    ids = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    links = [attributes["href"] for tag, attributes in parsed.tags if tag == "a"]
    links.remove("curve.png")
    assert links == ["#section-1", "#section-2", "#provenance"]
    assert {link[1:] for link in links} <= ids


def test_hostile_text_stays_text_everywhere() -> None:
    plain, hostile = Page(build().html()), Page(build(HOSTILE).html())
    # `code` and **strong** are understood in prose; nothing else may add a tag.
    added = hostile.names() - plain.names()
    assert added <= {"code", "strong"}
    assert all(not name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert "\x00" not in build(HOSTILE).html()
    assert 'alert("x")' in "".join(hostile.text)


def test_same_input_gives_the_same_bytes(tmp_path) -> None:
    first, second = build().write(tmp_path / "a"), build().write(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "a/curve.png").read_bytes() == (tmp_path / "b/curve.png").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["curve.png", "report.html"]


def test_writing_again_replaces_the_page(tmp_path) -> None:
    build("old").write(tmp_path)
    page = build("new").write(tmp_path).read_text(encoding="utf-8")
    assert "Title new" in page
    assert "Title old" not in page


def test_embedded_image_is_the_figure_at_its_size_on_paper_and_the_png_lies_beside(tmp_path) -> None:
    parsed = Page(build().write(tmp_path).read_text(encoding="utf-8"))
    image = next(attributes for tag, attributes in parsed.tags if tag == "img")
    assert base64.b64decode(image["src"].split(",", 1)[1]) == svg(small_figure())
    assert (tmp_path / "curve.png").read_bytes() == png(small_figure())
    assert (image["width"], image["height"]) == ("192", "96")
    assert image["alt"] == "Caption plain"


def test_figures_and_tables_are_numbered_through_the_report() -> None:
    report = Report("Numbers")
    for _ in range(2):
        report.section("S").figure(small_figure(), "A figure.").table([{"a": 1}], "A table.")
    text = "".join(Page(report.html()).text)
    assert all(word in text for word in ("Figure 1.", "Figure 2.", "Table 1.", "Table 2."))


@pytest.mark.parametrize(
    ("table", "cells"),
    [
        (pd.DataFrame({"x": [0.61, 0.02, 0.0004]}), ["0.610", "0.020", "0.000400"]),
        (pd.DataFrame({"x": [1200, -7]}), ["1,200", f"{MINUS}7"]),
        (pd.DataFrame({"x": [np.nan, np.inf, -1.5]}), [DASH, "∞", f"{MINUS}1.50"]),
        (pd.DataFrame({"ok": [True, False]}), ["yes", "no"]),
        (pd.DataFrame({"v": [1.0]}, index=pd.Index(["massive"], name="edit")), ["massive", "1.00"]),
        (
            xr.DataArray([[1.5]], dims=("edit", "metric"), coords={"edit": ["m"], "metric": ["psnr"]}),
            ["m", "psnr", "1.50"],
        ),
        (xr.Dataset({"psnr": ("edit", [15.2])}, coords={"edit": ["massive"]}), ["massive", "15.2"]),
        ([{"name": None, "n": 3}], [DASH, "3"]),
    ],
)
def test_tables_hold_the_values_given(table, cells: list[str]) -> None:
    report = Report("Tables")
    report.section("S").table(table)
    body = report.html().split("<tbody>")[1]
    found = [part.split(">", 1)[1].split("</td>")[0] for part in body.split("<td")[1:]]
    assert found == cells


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e12, 1e12), st.integers(1, 6))
def test_a_number_keeps_its_significant_digits(value: float, digits: int) -> None:
    shown = float(number(value, digits).replace(MINUS, "-").replace(",", ""))
    assert shown == pytest.approx(value, rel=0.51 * 10 ** (1 - digits), abs=1e-300)


def test_what_lies_beside_the_page_is_linked_by_its_own_name() -> None:
    report = build().beside({"numbers": "../a run/results.json", "a name": 'x"><b>.zarr'})
    parsed = Page(report.html())
    links = [attributes["href"] for tag, attributes in parsed.tags if tag == "a"]
    assert "../a%20run/results.json" in links
    assert "x%22%3E%3Cb%3E.zarr" in links
    assert "b" not in parsed.names() - Page(build().html()).names()


def test_a_picture_that_was_drawn_before_is_shown_as_it_is(tmp_path) -> None:
    (tmp_path / "old.png").write_bytes(png(small_figure(3.0)))
    report = Report("Old")
    report.section("S").picture(tmp_path / "old.png", "As it was.", name="old")
    image = next(attributes for tag, attributes in Page(report.html()).tags if tag == "img")
    assert base64.b64decode(image["src"].split(",", 1)[1]) == png(small_figure(3.0))
    assert (image["width"], image["height"]) == ("192", "96")


def test_no_script_runs_but_that_of_an_explorer() -> None:
    report = build()
    assert "script-src 'none'" in report.html()
    report.sections[0].explorer(('{"a": "\\u003cb>"}', "const a = 1;", ".x {}"), "Inside.")
    digest = base64.b64encode(hashlib.sha256(b"const a = 1;").digest()).decode()
    assert f"script-src 'sha256-{digest}'" in report.html()
    assert '<script type="module">const a = 1;</script>' in report.html()


def test_provenance_spreads_mappings_and_lists() -> None:
    text = "".join(Page(build().html()).text)
    assert "torch: 2.13.0" in text
    assert "0, 1" in text


BAD = {
    "no title": lambda folder: Report(" "),
    "no sections": lambda folder: Report("Empty").write(folder),
    "a file in the way": lambda folder: build().write(folder / "file"),
    "a name twice": lambda folder: build().sections[0].figure(small_figure(), "again", name="curve"),
    "a path as a name": lambda folder: build().sections[0].figure(small_figure(), "c", name="../evil"),
    "no figure": lambda folder: build().sections[0].figure("curve.png", "c"),
    "no table": lambda folder: build().sections[0].table(3),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_file(case: str, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"found .*; expected .*\.$"):
        BAD[case](tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"
