"""The report of a comparison or a sweep: each grid has its figure, and all effects their intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ditscope.explorer.stores import Comparison
from ditscope.plots._sheet import png
from ditscope.plots._text import DASH
from ditscope.report import comparison as module
from ditscope.report.comparison import comparison_report, write_report


def make_result(**grid: list) -> xr.Dataset:
    """As ``ds.sweep`` returns it, over a grid, with images."""
    random = np.random.default_rng(0)
    cells, edits, metrics = [len(each) for each in grid.values()], ["massive", "random"], ["psnr", "ssim"]
    dims = (*grid, "edit")
    mean = random.normal(size=(2, *cells, 2))
    image = lambda *lead: random.integers(0, 256, (*lead, 4, 5, 3)).astype(np.uint8)  # noqa: E731
    pixels = ("sample", "y_pixel", "x_pixel", "rgb")
    return xr.Dataset(
        {
            **{
                name: (("metric", *dims), mean + by)
                for name, by in (("mean", 0), ("low", -0.2), ("high", 0.2))
            },
            **{
                f"simultaneous_{end}": (("metric", *dims), mean + by)
                for end, by in (("low", -1), ("high", 1))
            },
            **{
                name: (("metric", *dims, "draw", "sample"), np.ones((2, *cells, 2, 1, 3)))
                for name in ("value", "effect")
            },
            "fired": ((*dims, "draw"), np.ones((*cells, 2, 1))),
            "fired_by_sample": ((*dims, "draw", "sample"), np.ones((*cells, 2, 1, 3))),
            **{f"energy_{name}": (dims, np.full((*cells, 2), 0.25)) for name in ("removed", "moved")},
            "baseline_value": (("metric", "sample"), np.ones((2, 3))),
            "images": ((*dims, "draw", *pixels), image(*cells, 2, 1, 3)),
            "baseline_images": (pixels, image(3)),
        },
        coords={
            **grid,
            "edit": edits,
            "metric": metrics,
            "draw": [0],
            "label": ("metric", ["PSNR", "SSIM"]),
            "unit": ("metric", ["dB", ""]),
            "damage": ("metric", ["lower", "lower"]),
            "over": ("metric", ["image", "image"]),
            "paired": ("metric", [True, False]),
            "control": ("edit", [False, True]),
            "draws": ("edit", [1, 1]),
            "matched_to": ("edit", ["", "massive"]),
            "prompt": ("sample", ["a <b>", "ü", "ü"]),
            "seed": ("sample", [0, 0, 1]),
        },
        attrs={
            "model": "shapes",
            "call": "{'height': 64}",
            "live": '{"versions": {"torch": "2"}}',
            "ditscope": "0.1.0",
            "ditscope_commit": "0abc",
        },
    )


def opened(**grid: list) -> Comparison:
    return Comparison("a.sweep", make_result(**grid), "result = opened()")


GRIDS = {
    "no grid": ({}, ["effects", "images"]),
    "blocks and steps": ({"block": [0, 3], "step": [0, 9]}, ["effects-psnr", "effects-ssim", "images"]),
    "two others": ({"k": [1, 6], "scale": [0.0, 2.0]}, ["effects", "images"]),
    "three": ({"k": [1], "scale": [0.0], "block": [0]}, ["images"]),
}


@pytest.mark.parametrize("kind", GRIDS)
def test_each_grid_has_its_figures_and_their_code_draws_them(kind, tmp_path) -> None:
    grid, names = GRIDS[kind]
    comparison = opened(**grid)
    report = comparison_report(comparison, tmp_path / "a.sweep", tmp_path / "out")
    assert [part["name"] for part in report.parts("figure")] == names
    for part in report.parts("figure"):
        known: dict = {"opened": lambda: comparison.result}
        exec(part["code"], known)
        assert png(known["figure"]) == part["data"]
    assert ("is not drawn" in report.html()) == (kind == "three")


def test_every_effect_is_in_the_table_with_its_interval(tmp_path) -> None:
    comparison = opened(k=[1, 6])
    comparison.result["mean"][0, 1, 0] = np.nan
    table = comparison_report(comparison, tmp_path, tmp_path).parts("table")[-1]
    rows = [[cell for _, cell in row] for row in table["rows"]]
    assert [row[:2] for row in rows] == [["1", "massive"], ["1", "random"], ["6", "massive"], ["6", "random"]]
    mean, low, high = (comparison.result[name] for name in ("mean", "low", "high"))
    place = {"metric": "ssim", "k": 6, "edit": "random"}
    assert rows[3][3] == f"{mean.sel(place):.3g} [{low.sel(place):.3g}, {high.sel(place):.3g}]"
    assert rows[2][2] == DASH


def test_what_made_it_and_what_is_missing_is_said(tmp_path) -> None:
    comparison = opened()
    comparison.result.attrs["missing_runs"] = 3
    page = write_report(comparison, tmp_path / "a.sweep").read_text()
    assert (tmp_path / "a-report" / "effects.png").is_file()
    for words in (
        "3 runs are not finished",
        "a &lt;b&gt;",
        "torch: 2",
        "height",
        "0.1.0, commit 0abc; not whether",
        'href="../a.sweep/zarr.json"',
    ):
        assert words in page, words
    assert Path(tmp_path / "a.sweep").exists() is False


def test_only_changes_are_held_against_0(tmp_path) -> None:
    """Of a paired metric the effect is its score, which lies above 0 whatever an edit did."""
    comparison = opened(k=[1, 6])
    for name, value in (("low", [[-1, 1], [-1, 1]]), ("high", [[2, 2], [-0.5, 2]])):
        comparison.result[name][0], comparison.result[name][1] = 5, value
    html = comparison_report(comparison, tmp_path, tmp_path).html()
    assert "3 of 4 changes of ssim have an interval that does not hold 0" in html
    comparison.result["paired"][:] = True
    assert "does not hold 0" not in comparison_report(comparison, tmp_path, tmp_path).html()


def test_metrics_of_one_label_have_a_column_each(tmp_path) -> None:
    comparison = opened()
    comparison.result["label"][:] = "PSNR in a mask"
    comparison.result.coords["metric"] = ["masked_psnr_a", "masked_psnr_b"]
    row, _ = comparison_report(comparison, tmp_path, tmp_path).parts("table")[-1]["rows"]
    means = comparison.result["mean"].values[:, 0]
    assert [cell.split()[0] for _, cell in row[1:]] == [f"{mean:.3g}" for mean in means]


def test_no_more_rows_are_made_than_shown(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_MOST_ROWS", 3)
    comparison = opened(k=[1, 6], scale=[0.0, 2.0])
    assert len(module._rows(comparison.result, ["k", "scale"])) == 3
    report = comparison_report(comparison, tmp_path, tmp_path)
    assert len(report.parts("table")[-1]["rows"]) == 3
    assert "The first 3 of 8 rows" in report.html()
