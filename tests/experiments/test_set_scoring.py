"""Numbers of whole sets: means over draws, intervals over prompts by hand, and edits that share their resamples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
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


def fired(runs, **where):
    """Runs that fired in all samples, but those of some edits."""
    every = {at: np.ones(24, bool) for at in runs}
    for name, samples in where.items():
        every[int(name[1]), int(name[2])][samples] = False
    return {at: (each, every[at]) for at, each in runs.items()}


@pytest.fixture(scope="module")
def found(images):
    return set_intervals(GAP, images[1], fired(images[0]), PROMPTS)


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
    alone = set_intervals(GAP, images[1], fired({(0, 0): images[0][0, 0]}), ["p"] * 24)
    assert np.isfinite(alone["mean"]).all()
    assert np.isnan(alone["low"]).all()


def test_sets_are_of_the_samples_in_which_the_edits_fired(images):
    """As if the others had never been run; a contrast is of those of both, and draws are of one size."""
    runs, base = images
    found = set_intervals(GAP, base, fired(runs, e00=range(4), e11=range(20, 24)), PROMPTS)
    assert found["n_samples"].tolist() == [20, 20, 24]
    late, early, both = slice(4, None), slice(None, 20), slice(4, 20)

    def alone(samples, *edits):
        some = {(edits.index(at[0]), at[1]): each[samples] for at, each in runs.items() if at[0] in edits}
        every = {at: (each, np.ones(len(each), bool)) for at, each in some.items()}
        return set_intervals(GAP, base[samples], every, PROMPTS[samples])

    for edit, samples in ((0, late), (1, early), (2, slice(None))):
        expected = alone(samples, edit)
        for name in ("mean", "low", "high"):
            np.testing.assert_allclose(found[name][edit], expected[name][0], err_msg=name)
    for name in ("contrast_mean", "contrast_low", "contrast_high"):
        np.testing.assert_allclose(found[name][1], alone(both, 0, 1)[name][1], err_msg=name)


def test_a_set_of_too_few_samples_has_no_number(images):
    few = replace(GAP, least=21)
    found = set_intervals(few, images[1], fired(images[0], e00=range(4)), PROMPTS)
    assert found["n_samples"].tolist() == [20, 24, 24]
    for name, values in found.items():
        if name.startswith("contrast_"):
            assert np.isnan(values).all()
        elif name != "n_samples":
            assert np.isnan(values).tolist() == [True, False, False]


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
    assert (sweep["n_samples"] == 2).all()
    with pytest.raises(InputError, match="images='keep'"):
        ds.sweep(dit, ["a red circle"], 0, grid, [GAP], images="drop", **call)


def test_a_sample_without_a_token_is_in_no_set_of_a_comparison_nor_of_one_that_goes_on(dit, tmp_path) -> None:
    masks = xr.DataArray(np.ones((3, 24), bool), dims=("sample", "token"))
    masks[1] = False
    edits = {"masked": ds.edits.zero([1], tokens=masks), "all": ds.edits.zero([1])}
    prompts, call = ["a red circle", "a white star", "a blue ring"], {"num_inference_steps": 1}
    call |= {"height": 16, "width": 24, "path": tmp_path / "a"}
    for metric, number in ((GAP, True), (replace(GAP, name="more", least=3), False)):
        for path in (None, tmp_path / metric.name, tmp_path / metric.name):
            with pytest.warns(UserWarning, match="masked") as warned:
                found = ds.compare(dit, prompts, 0, edits, [metric], **{**call, "path": path})
            words = [str(each.message) for each in warned]
            assert any("fired on no token of 1 of 3 samples (1)" in each for each in words)
            assert any("fewer: 'masked' in 2. It is NaN there" in each for each in words) is not number
            assert found["n_samples"].values.tolist() == [[2, 3]]
            bare, some = found["baseline_images"].values, [0, 2]
            by_hand = [
                metric(found["images"].values[edit, 0][rows], reference=bare[rows]) if number else np.nan
                for edit, rows in ((0, some), (1, some))
            ]
            assert found["mean"][0, 0].item() == pytest.approx(by_hand[0], nan_ok=True)
            assert found["contrast_mean"][0, 1].item() == pytest.approx(by_hand[0] - by_hand[1], nan_ok=True)
    masks = xr.concat([masks, masks[[1, 0, 2]]], "edit")
    apart = {f"edit {at}": ds.edits.zero([1], tokens=masks[at]) for at in range(2)}
    with pytest.warns(UserWarning, match="fewer: 'edit 1' and 'edit 0' together. It is NaN there"):
        found = ds.compare(dit, prompts, 0, apart, [replace(GAP, least=2)], **{**call, "path": None})
    assert np.isfinite(found["mean"]).all()
    assert np.isnan(found["contrast_mean"].values).tolist() == [[False, True]]
