"""The explorer inside the reports of sweeps and studies shows what their stores have; where it is not, this is said."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr
from store_sweep import make_sweep

from ditscope.explorer.stores import opened
from ditscope.report.comparison import write_report
from ditscope.report.explorer import EXPLORER_BYTES, add_store, add_stores
from ditscope.report.page import Report

WAIT = 120_000


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep over blocks and steps, of two prompts with two seeds."""
    path = tmp_path_factory.mktemp("sweep") / "a.sweep"
    grid = {"block": ["double.0", "single.5"], "step": [0, 3]}
    (store,) = opened([make_sweep(path, grid, prompts=["x", "x", "y <b>", "y <b>"], seeds=[0, 7, 0, 7])])
    return store, path


@pytest.fixture(scope="module")
def page(sweep):
    """Its written report."""
    return write_report(*sweep)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cache, sweep):
    """The folder of a study's result with its stores."""
    made = tmp_path_factory.mktemp("study")
    (made / "results.json").write_text("{}")
    xr.DataTree().to_zarr(made / "arrays.zarr", zarr_format=3, consolidated=False)
    shutil.copytree(cache.path, made / "pilot/statistics.zarr")
    shutil.copytree(sweep[1], made / "test/edits.sweep")
    make_sweep(made / "pilot/edits.sweep", {})
    make_sweep(made / "test/none.sweep", {}, image_size=None)
    return made


def settled(open_page) -> None:
    open_page.wait_for_selector(".ditscope-explorer[aria-busy=false]", timeout=WAIT)


def moved(open_page, label: str, key: str) -> None:
    """Move a slider to one of its ends by a key."""
    open_page.get_by_label(label, exact=True).focus()
    open_page.keyboard.press(key)
    settled(open_page)


def test_every_picker_of_a_sweep_shows_what_is_stored(sweep, page, shown) -> None:
    result = sweep[0].result
    open_page = shown(page)
    settled(open_page)
    for label, key in (("block", "End"), ("step", "Home"), ("Prompt", "End"), ("Seed", "End")):
        moved(open_page, label, key)
    open_page.get_by_label("Edit", exact=True).select_option("random")
    open_page.wait_for_selector(".facts:has-text('random')", timeout=WAIT)
    settled(open_page)
    assert open_page.locator(".facts").inner_text() == "seed 7 · block single.5 · step 0 · random"
    assert open_page.locator(".pane h2").inner_text() == "y <b>"
    place = {"block": 1, "step": 0, "edit": 1}
    edited = result["images"].isel({**place, "draw": 0, "sample": 3}).values
    baseline = result["baseline_images"].isel(sample=3).values
    canvas = open_page.locator("figure canvas.map").nth(1)
    box = canvas.bounding_box()
    canvas.hover(position={"x": 3.5 / 5 * box["width"], "y": 2.5 / 4 * box["height"]})
    open_page.wait_for_selector(".readout:has-text('y 2, x 3')", timeout=WAIT)
    said = open_page.locator(".readout").inner_text()
    words = [" ".join(map(str, image[2, 3].tolist())) for image in (baseline, edited)]
    assert f"baseline {words[0]}, edited {words[1]}," in said
    apart = np.abs(edited[2, 3].astype(int) - baseline[2, 3]).mean()
    assert float(said.split()[-1]) == pytest.approx(apart, rel=6e-4)
    rows = open_page.locator("tbody tr").filter(has=open_page.locator("th button"))
    cells = rows.nth(1).locator("td").all_inner_texts()
    at = result.isel({**place, "metric": 0})
    numbers = [float(each) for each in re.findall(r"-?[\d.]+", cells[0] + cells[1])]
    assert numbers == pytest.approx([float(at[name]) for name in ("mean", "low", "high")], rel=6e-3)


def test_the_page_of_a_sweep_is_as_small_as_it_says_and_names_what_shows_all(sweep, page) -> None:
    text = page.read_text()
    answers = re.search(r'<script type="application/json">(.*?)</script>', text, re.S)[1]
    assert len(answers) < EXPLORER_BYTES
    assert len(json.loads(answers)) > 30
    assert f"<code>ditscope view {sweep[1]}</code> shows all." in text
    assert "4 of 4 samples, 2 of 2 edits, 2 of 2 labels of <code>block</code>" in text


def test_a_study_has_its_stores_comparisons_first(folder, tmp_path, shown) -> None:
    report = Report("Study")
    add_stores(report, folder)
    text = report.html()
    places = [
        text.index(f"of <code>{name}</code>")
        for name in ("test/edits.sweep", "pilot/edits.sweep", "statistics.zarr")
    ]
    assert places == sorted(places), "not by kind and number of samples"
    assert "Not inside: <code>test/none.sweep</code>" in text
    open_page = shown(report.write(tmp_path))
    settled(open_page)
    assert open_page.locator("figure canvas.map").count() == 3
    open_page.get_by_label("Store", exact=True).select_option("statistics.zarr")
    open_page.get_by_label("Block", exact=True).wait_for(timeout=WAIT)
    settled(open_page)
    assert "block_output" in open_page.locator(".facts").inner_text()
    assert open_page.locator("[data-failed=yes]").count() == 0


def test_where_it_is_not_inside_a_sentence_says_why_and_what_shows_it(folder, tmp_path, cache) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file, words in (
        (
            "test/edits.sweep/journal.jsonl",
            r"as a store is damaged \(line 1 of .* whose checksum is another\)",
        ),
        ("results.json", "as no recording or sweep is with the result"),
    ):
        (copy / file).write_text("00000000 {}\n00000000 {}\n")
        if file == "results.json":
            for name in ("pilot", "test"):
                shutil.rmtree(copy / name)
        report = Report("Study")
        add_stores(report, copy)
        assert not report.parts("explorer")
        (said,) = report.parts("text")
        assert re.search(rf"not inside this page, {words}: .*`ditscope view \.` in the folder", said["text"])
    (dropped,) = opened([folder / "test/none.sweep"])
    add_store(report, dropped, folder / "test/none.sweep")
    assert "as no image of an edited run is kept: `ditscope view" in report.parts("text")[-1]["text"]


@pytest.mark.parametrize("width", [1400, 420])
def test_nothing_scrolls_sideways(page, shown, width) -> None:
    open_page = shown(page, width)
    settled(open_page)
    assert open_page.evaluate("document.documentElement.scrollWidth") <= width
    inner = "[...document.querySelector('.explorer').shadowRoot.querySelectorAll('{}')]"
    rights = inner.format(".pane, .controls, .triple") + ".map((e) => e.getBoundingClientRect().right)"
    assert max(open_page.evaluate(rights)) <= width
    cut = inner.format(".scroll") + ".map((e) => e.scrollWidth - e.clientWidth)"
    assert open_page.evaluate(cut) == [0]
