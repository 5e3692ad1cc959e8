"""What of a store fits a page is evenly spread, no larger than the page may be, and has the store's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from store_sweep import make_sweep

from ditscope.explorer.export import parts
from ditscope.explorer.fitting import fitting
from ditscope.explorer.stores import opened

MOST = 6 * 2**20
PROMPTS = [f"prompt {number}" for number in range(3) for _ in range(3)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A sweep over 9 x 2 cells, of three prompts with three seeds, with images larger than thumbnails."""
    path = tmp_path_factory.mktemp("wide") / "wide.sweep"
    grid = {"block": list(range(9)), "step": [0, 7]}
    (store,) = opened([make_sweep(path, grid, prompts=PROMPTS, seeds=[0, 1, 2] * 3, image_size=(192, 256))])
    return store


def test_of_a_recording_samples_steps_and_blocks_are_evenly_spread(cache) -> None:
    chosen = fitting(cache, MOST)
    assert set(chosen.choice) == {"samples", "steps", "blocks", "channels"}
    assert chosen.choice["steps"][-1] == cache.schema.steps[-1].index
    assert chosen.choice["samples"] == [0, 2]
    assert chosen.inside.startswith("2 of 3 samples, ")
    few = fitting(cache, 6000).choice
    assert 1 <= len(few["samples"]) * len(few["steps"]) * len(few["blocks"]) < 12
    assert fitting(cache, 10) is None


def test_a_small_sweep_fits_as_it_is_but_for_further_draws(stores) -> None:
    whole = stores[1].result
    fits = fitting(stores[1], MOST)
    part = fits.store.result
    assert fits.inside == "3 of 3 samples, 2 of 2 edits, 2 of 2 labels of `block`, the first draw of each"
    assert (part.sizes["draw"], part["draws"].values.tolist()) == (1, [1, 1])
    for name in ("mean", "low", "simultaneous_high", "images", "baseline_images"):
        kept = whole[name].isel(draw=[0]) if "draw" in whole[name].dims else whole[name]
        np.testing.assert_array_equal(part[name].values, kept.values)


def test_prompts_keep_their_seeds_and_images_are_made_smaller(wide) -> None:
    fits = fitting(wide, 20 * MOST)
    part, whole = fits.store.result, wide.result
    assert part["prompt"].values.tolist() == ["prompt 0"] * 2 + ["prompt 2"] * 2
    assert part["seed"].values.tolist() == [0, 1, 0, 1]
    assert part["block"].values.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert "from 256 x 192 to 128 x 96 pixels" in fits.inside
    assert part["images"].shape[-3:] == (96, 128, 3)
    kept = whole["images"].isel(block=5, step=1, edit=1, draw=0, sample=6).values
    means = kept.reshape(96, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(part["images"].isel(block=4, step=1, edit=1, draw=0, sample=2).values - means).max() <= 1


def test_its_code_gives_the_same_numbers_from_the_store(wide) -> None:
    fits = fitting(wide, MOST)
    assert fits.store.code.endswith("# The page has the images at 128 x 96 pixels.")
    names: dict = {}
    exec(fits.store.code, names)
    for name in ("mean", "low", "high", "value", "prompt", "seed"):
        here, there = (
            each[name].drop_vars("draws", errors="ignore") for each in (names["result"], fits.store.result)
        )
        xr.testing.assert_equal(here, there)


@pytest.mark.parametrize("most_bytes", [MOST, MOST // 3, 2**19])
def test_a_page_of_it_is_no_larger_than_was_allowed(wide, cache, most_bytes) -> None:
    for store in (wide, cache):
        fits = fitting(store, most_bytes)
        answers, _, _ = parts([(fits.store, fits.choice)], most_bytes=most_bytes)
        assert len(answers) <= most_bytes


def test_what_has_no_image_of_an_edited_run_does_not_fit(tmp_path, wide) -> None:
    assert fitting(wide, 50_000) is None
    for name, options in (("dropped", {"image_size": None}), ("begun", {"missing": 6})):
        (store,) = opened([make_sweep(tmp_path / name, {"block": [0, 1]}, **options)])
        assert fitting(store, MOST) is None
