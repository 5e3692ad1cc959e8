"""A page in a real Chromium: at desk and phone width nothing is cut off, by day and night all can be read."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
from figure_data import make_iou, make_scores
from page_reading import until

from ditscope import plots
from ditscope.report import Report
from ditscope.report.side_by_side import side_by_side


def made() -> Report:
    """A wide table of intervals as an ablation has it, a wide one of numbers, figures, long words and code."""
    report = Report("A page with " + "averylongword" * 6, opening="scores = opened()")
    section = report.section("Wide")
    intervals = {f"metric number {at} (dB)": "12.3 [11.2, 13.4]" for at in range(7)}
    rows = [{"edit": "zero random, 22.4 % of the energy", "energy, %": 22.4, **intervals} for _ in range(3)]
    section.table(rows, "Effects.").table(
        pd.DataFrame({f"number {at}": [1234.5] for at in range(12)}), "Numbers."
    )
    section.table([{"block": "double.0", "largest": 3.2}], "Narrow.")
    section.figure(plots.iou_by_block(make_iou()), "A wide figure.", name="wide")
    section.figure(plots.channel_magnitude(make_scores()), "Another.", name="other")
    section.code("x" * 400).finding("Statement.", "Means.", "Does not mean.")
    return report.provenance({"prompts": ["a prompt " * 12] * 20, "fingerprint": "0" * 200})


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page, and two of them beside each other."""
    folder = tmp_path_factory.mktemp("pages")
    two = side_by_side(Report("Two"), [made(), made()], ["first", "second"])
    return [made().write(folder), two.write(folder / "two")]


@pytest.mark.parametrize("width", [1400, 800, 420])
def test_nothing_is_cut_off_or_scrolled_sideways(pages, shown, width) -> None:
    for path in pages:
        page = shown(path, width)
        until(page, partial(page.evaluate, f"document.documentElement.scrollWidth <= {width}"))
        cut = page.evaluate(
            "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
            ".map((e) => e.innerText.slice(0, 40))"
        )
        assert cut == []
        right = page.evaluate(
            "Math.max(...[...document.querySelectorAll('img')].map((e) => e.getBoundingClientRect().right))"
        )
        assert 0 < right <= width


def test_on_a_phone_a_cell_stands_beside_its_columns_name(pages, shown) -> None:
    page = shown(pages[0], 420)
    cell = page.locator("#table-1 td").nth(2)
    assert cell.evaluate("e => getComputedStyle(e, '::before').content") == '"metric number 0 (dB)"'
    assert page.locator("#table-3 td").first.evaluate("e => getComputedStyle(e).display") == "table-cell"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_are_on_the_paper_of_the_theme(pages, shown, scheme) -> None:
    page = shown(pages[0], 1400, scheme)
    paper, ink = page.evaluate(
        """async () => {
          const image = document.querySelector("img"), canvas = document.createElement("canvas");
          await image.decode();
          [canvas.width, canvas.height] = [image.width, image.height];
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0, image.width, image.height);
          const light = (x, y, w, h) => {
            const data = context.getImageData(x, y, w, h).data, all = [];
            for (let i = 0; i < data.length; i += 4) all.push(data[i] + data[i + 1] + data[i + 2]);
            return all;
          };
          const title = light(10, 8, 300, 24);
          return [light(3, 3, 1, 1)[0], [Math.min(...title), Math.max(...title)]];
        }"""
    )
    body = page.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").rstrip(")")
    assert paper == pytest.approx(sum(map(int, body.split(","))), abs=6)
    assert (paper < 200, max(ink) > 600) == ((True, True) if scheme == "dark" else (False, True))
    assert min(ink) < 250


def test_code_is_folded_away_and_opens_by_keyboard(pages, shown) -> None:
    page = shown(pages[0])
    summary = page.get_by_text("The code that draws figure 1", exact=True)
    code = page.locator("figure details pre").first
    assert not code.is_visible()
    summary.focus()
    page.keyboard.press("Enter")
    until(page, code.is_visible)
    assert "plots.iou_by_block(" in code.inner_text()
