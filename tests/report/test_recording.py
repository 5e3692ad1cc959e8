"""The report of a recording: what is in it, nothing that is not, and the explorer on a part of it."""

from __future__ import annotations

import json
import re
from html import escape

import numpy as np
import pytest
from page_reading import number, point, readout, settled
from store_recording import make_schema, record

import ditscope as ds
from ditscope._version import commit
from ditscope.cache import manifest, open_cache
from ditscope.errors import InputError
from ditscope.plots._sheet import png
from ditscope.report.explorer import EXPLORER_BYTES
from ditscope.report.recording import recording_report


@pytest.fixture(scope="module")
def page(cache):
    """The written report."""
    return cache.report()


def test_it_lies_beside_the_recording_with_its_figures(cache, page) -> None:
    assert page == cache.path.with_name("a run-report") / "report.html"
    names = {path.name for path in page.parent.glob("*.png")}
    assert {"image-magnitude.png", "image-spectrum.png", "text-magnitude.png"} <= names


def test_what_made_it_is_said_and_linked(cache, page) -> None:
    text = page.read_text(encoding="utf-8")
    environment = cache.manifest["environment"]
    assert environment["created"] in text
    for sample in cache.committed:
        assert escape(cache.specs[sample].prompt) in text
    assert "3 of 4 samples are recorded" in text
    assert 'href="../a%20run.zarr/zarr.json"' in text
    assert f"ditscope report {cache.path}" in text
    assert commit() is None or f"commit {commit()}; not whether files were changed since" in text


def test_its_numbers_are_those_of_the_recorded_statistics(cache, page) -> None:
    ranking = ds.passes.rank_channels(cache)
    ratio = ranking.concentration(6)["top_over_median"]
    assert f"is {float(ratio.min()):.1f} to {float(ratio.max()):.1f} times the median" in page.read_text()


def test_the_code_of_every_figure_draws_it_from_the_recording(cache, tmp_path) -> None:
    figures = recording_report(cache, tmp_path).parts("figure")
    assert len(figures) >= 4
    for part in figures:
        names: dict = {}
        exec(part["code"], names)
        assert png(names["figure"]) == part["data"], part["name"]


def test_statistics_alone_and_nothing_recorded_yet_have_a_report_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(manifest, "commit", lambda: None)
    schema = make_schema(tensors=False)
    html = open_cache(record(tmp_path / "s.zarr", schema, [0])).report(tmp_path / "out").read_text()
    assert "Channels of the image stream" in html
    assert "token-channel" not in html
    assert "not whether files" not in html, "of a store that says no commit"
    empty = open_cache(record(tmp_path / "e.zarr", schema, []))
    assert "0 of 2 samples are recorded" in empty.report().read_text()


def test_a_file_in_the_way_is_refused(cache, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="a file at"):
        cache.report(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_the_explorer_in_the_page_shows_what_is_stored(cache, page, shown) -> None:
    open_page = shown(page)
    settled(open_page)
    block = open_page.get_by_label("Block", exact=True)
    block.focus()
    open_page.keyboard.press("Home")
    settled(open_page)
    point(open_page, 2, 1, 3, 4)
    said = readout(open_page)
    token, channel = int(re.search(r"token (\d+)", said)[1]), int(re.search(r"channel (\d+)", said)[1])
    facts = open_page.locator(".facts").first.inner_text()
    step, name = int(re.search(r"step (\d+)", facts)[1]), cache.schema.blocks[0].name
    assert (token, name in facts) == (9, True)
    place = {"sample": 0, "step": step, "branch": "cond", "block": 0, "channel": channel}
    value = float(cache.hidden(channels=[channel]).sel(place).values.astype(np.float32)[token])
    assert number(said) == pytest.approx(value, rel=6e-4)
    answers = re.search(r'<script type="application/json">(.*?)</script>', page.read_text(), re.S)[1]
    assert len(answers) < EXPLORER_BYTES
    assert len(json.loads(answers)) > 10


def test_neither_page_nor_explorer_changes_how_the_other_looks(page, shown) -> None:
    open_page = shown(page)
    settled(open_page)
    padding = "element => getComputedStyle(element).paddingTop"
    assert open_page.locator(".page > header").evaluate(padding) == "72px"
    assert open_page.locator(".ditscope-explorer header").evaluate(padding) != "72px"
