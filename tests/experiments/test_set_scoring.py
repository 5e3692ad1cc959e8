"""Numbers of whole sets: means over draws, intervals over prompts by hand, and edits that share their resamples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

import ditscope as ds
from ditscope.errors import InputError
from ditscope.experiments.set_scoring import set_intervals
from ditscope.metrics.metric import Metric

PROMPTS = [f"p{number // 2}" for number in range(24)]  # twelve, with two seeds each
GAP = Metric(
    "gap",
    "gap of means",
    lambda images: images.mean((1, 2)),
    damage="higher",
    distance=lambda one, other: float((one.mean(0) - other.mean(0)).sum()),
)


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    shared = np.repeat(random.integers(40, 160, (12, 1, 1, 1)), 2, axis=0)  # seeds of a prompt are alike
    at = [(0, 0), (1, 0), (1, 1)]
    found = {each: np.uint8(shared + random.integers(0, 60, (24, 4, 4, 3))) for each in at}
    return {**found, (2, 0): found[0, 0]}, np.uint8(shared + random.integers(0, 60, (24, 4, 4, 3)) // 2)


@pytest.fixture(scope="module")
def found(images):
    return set_intervals(GAP, images[1], images[0], PROMPTS)


def gaps(images) -> dict[tuple[int, int], np.ndarray]:
    """Of each run, what each prompt adds: for this metric a set's number is their mean."""
    base = images[1].mean((1, 2)).sum(-1)
    return {at: (each.mean((1, 2)).sum(-1) - base).reshape(12, 2).mean(1) for at, each in images[0].items()}


def test_the_number_is_the_distance_of_the_sets_averaged_over_draws(found, images):
    by_prompt = gaps(images)
    expected = [by_prompt[0, 0], (by_prompt[1, 0] + by_prompt[1, 1]) / 2, by_prompt[0, 0]]
    np.testing.assert_allclose(found["mean"], np.mean(expected, axis=1))
    np.testing.assert_allclose(
        found["contrast_mean"], np.mean(expected[0] - np.array(expected), axis=1), atol=1e-9
    )


@pytest.mark.parametrize(("kind", "edits"), [("", 1), ("simultaneous_", 3)])
def test_bounds_are_students_over_prompts(found, images, kind, edits):
    values = gaps(images)[0, 0]
    half = student.ppf(1 - 0.025 / edits, 11) * values.std() / np.sqrt(12)
    assert (found["mean"] - found[f"{kind}low"])[0] == pytest.approx(half, rel=0.15)
    assert (found[f"{kind}high"] - found["mean"])[0] == pytest.approx(half, rel=0.15)


def test_edits_that_do_the_same_differ_by_nothing(found):
    for name in ("contrast_low", "contrast_high", "contrast_simultaneous_low", "contrast_simultaneous_high"):
        assert found[name][0] == found[name][2] == 0
        assert found[name][1] != 0
    assert found["contrast_simultaneous_low"][1] < found["contrast_low"][1]


def test_one_prompt_has_no_interval(images):
    alone = set_intervals(GAP, images[1], {(0, 0): images[0][0, 0]}, ["p"] * 24)
    assert np.isfinite(alone["mean"]).all()
    assert np.isnan(alone["low"]).all()


def test_cells_of_a_sweep_have_numbers_of_their_own(dit, found) -> None:
    """As sets of their own; other metrics keep theirs, and a sweep that keeps no images is refused."""
    grid = ds.grid(lambda block: {"zero": ds.edits.zero([1], blocks=block)}, block=[0, 9])
    call = {"num_inference_steps": 1, "height": 16, "width": 16}
    sweep = ds.sweep(dit, ["a red circle", "a white star"], 0, grid, [GAP, "psnr"], **call)
    bare = sweep["baseline_images"].values
    for block in (0, 9):
        edited = sweep["images"].sel(block=block, edit="zero", draw=0).values
        here = sweep.sel(block=block, edit="zero")
        assert float(here["mean"].sel(metric="gap")) == pytest.approx(GAP(edited, reference=bare))
        assert float(here["mean"].sel(metric="psnr")) == pytest.approx(
            float(here["effect"].sel(metric="psnr").mean())
        )
    assert sweep["over"].values.tolist() == ["set", "image"]
    with pytest.raises(InputError, match="images='keep'"):
        ds.sweep(dit, ["a red circle"], 0, grid, [GAP], images="drop", **call)
