"""What is kept of a comparison draws the same figures as the whole of it, without the images that are not shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ditscope.studies import Claim, Quantity, Result, Rule, comparison_arrays, comparison_figures


@dataclass(frozen=True)
class Drawn(Claim):
    """A claim of which only figures are looked at."""

    name, claim, source, design, controls = "drawn", "Drawn.", "nobody", "Draw.", ("none",)
    rule = Rule((Quantity.above("gap", "gap", 0.0),))

    def test(self, trial, chosen):
        raise NotImplementedError

    def figures(self, result):
        return comparison_figures(self, result, effects="What edits do.", metrics=["ssim"], title="Two edits")

    def work(self):
        raise NotImplementedError


@pytest.fixture
def compared() -> xr.Dataset:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(2, 2))
    sizes = {"metric": ["psnr", "ssim"], "edit": ["massive", "random"], "sample": range(7)}
    return xr.Dataset(
        {
            **{
                name: (("metric", "edit"), mean + off)
                for name, off in (("mean", 0), ("low", -1), ("high", 1))
            },
            "images": (
                ("edit", "draw", "sample", "y_pixel", "x_pixel", "rgb"),
                rng.integers(0, 255, (2, 1, 7, 8, 8, 3), dtype=np.uint8),
            ),
            "baseline_images": (
                ("sample", "y_pixel", "x_pixel", "rgb"),
                rng.integers(0, 255, (7, 8, 8, 3), dtype=np.uint8),
            ),
        },
        coords={**sizes, "prompt": ("sample", list("abcdefg")), "seed": ("sample", [0] * 7)},
    )


def test_all_effects_and_the_first_images_are_kept(compared) -> None:
    kept = comparison_arrays(compared)
    xr.testing.assert_identical(kept["comparison"], compared.drop_vars(["images", "baseline_images"]))
    assert set(kept["images"]) == {"images", "baseline_images"}
    np.testing.assert_array_equal(kept["images"]["images"], compared["images"][:, :, :5])


def test_the_figures_are_of_the_metrics_that_were_asked_for(compared) -> None:
    result = Result(Drawn(), Path("runs"), {}, comparison_arrays(compared), {})
    drawn = Drawn().figures(result)
    assert {name: caption for name, (_, caption) in drawn.items()} == {
        "effects": "What edits do.",
        "images": "The first tested prompts under each edit.",
    }
    words = [
        text.get_text() for text in drawn["effects"][0].findobj(match=lambda each: hasattr(each, "get_text"))
    ]
    assert any("Two edits" in each for each in words)
    assert any("ssim" in each.lower() for each in words)
    assert not any("psnr" in each.lower() for each in words)
