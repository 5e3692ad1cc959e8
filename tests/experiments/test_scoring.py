"""Scores of hand-made runs: energies by sample against a loop, effects, and draws that are missing."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.experiments.running import Condition, Run
from ditscope.experiments.scoring import score
from ditscope.experiments.set_scoring import set_intervals
from ditscope.intervals import bootstrap_mean
from ditscope.metrics.metric import Metric

SAMPLES = [("red", 4), ("red", 8), ("blue", 4)]
DRAWN = ChannelSet(xr.DataArray([[1], [2]], dims=("draw", "rank")), control=True)
CONDITIONS = [
    Condition("pair", (ds.edits.zero([3]), ds.edits.zero([4]))),
    Condition("random", (ds.edits.zero(DRAWN),)),
]
AT = [(0, 0), (1, 0), (1, 1)]
PLACE = ("step", "branch", "block", "stream", "site")
METRICS = {
    "level": Metric("level", "mean level", lambda images: images.mean(axis=(1, 2, 3))),
    "gap": Metric(
        "gap",
        "largest gap",
        lambda images, reference: np.abs(images.astype(float) - reference).max(axis=(1, 2, 3)),
        damage="higher",
    ),
}


def firings(rng: np.random.Generator, n_edits: int) -> pd.DataFrame:
    """Firings of every sample in two batches, as they follow each other in runs; sample 1 has a place less."""
    rows = []
    for batch in ([0, 1], [2]):
        places = itertools.product(range(2), ("cond", "uncond"), (0, 7), ("image",), ("block_output",))
        for place in places:
            for edit, sample in itertools.product(range(n_edits), batch):
                if (sample, *place[:3]) != (1, 1, "uncond", 7):
                    removed, moved = rng.normal(), rng.random()
                    # The second edit finds the energy that the first has left.
                    energy = rng.random() + 5 - 4 * edit
                    rows.append((*place, sample, f"edit {edit}", energy, removed, moved))
    return pd.DataFrame(rows, columns=[*PLACE, "sample", "edit", "energy", "removed", "moved"])


@pytest.fixture(scope="module")
def runs() -> dict[tuple[int, int], Run]:
    rng = np.random.default_rng(0)
    return {
        at: Run(rng.integers(0, 256, (3, 2, 4, 3), dtype=np.uint8), firings(rng, 2 if at == (0, 0) else 1))
        for at in AT
    }


@pytest.fixture(scope="module")
def baseline() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 2, 4, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def result(runs, baseline) -> xr.Dataset:
    return score(SAMPLES, CONDITIONS, baseline, runs, METRICS, resamples=50)


@pytest.mark.parametrize("kind", ["removed", "moved"])
def test_energies_are_what_a_loop_sums_with_each_place_once(result, runs, kind) -> None:
    for at, run in runs.items():
        for sample in range(3):
            seen, total, energy = set(), 0.0, 0.0
            for row in run.firings[run.firings["sample"] == sample].to_dict("records"):
                place = tuple(row[name] for name in PLACE)
                total += row[kind]
                energy += 0 if place in seen else row["energy"]
                seen.add(place)
            assert len(seen) == (7 if sample == 1 else 8)
            found = result[f"energy_{kind}_by_sample"].values[(*at, sample)]
            assert found == pytest.approx(total / energy, rel=1e-12)


def test_means_of_energies_leave_out_draws_that_a_condition_has_not(result) -> None:
    by_sample = result["energy_removed_by_sample"].values
    assert np.isnan(by_sample[0, 1]).all()
    expected = [by_sample[0, 0].mean(), by_sample[1].mean()]
    np.testing.assert_allclose(result["energy_removed"], expected)
    # Firings are counted with every edit: 8 + 7 + 8 places.
    np.testing.assert_allclose(result["fired"], [[46 / 3, 0], [23 / 3, 23 / 3]])


def test_a_sample_in_which_nothing_fired_has_no_energy(runs, baseline) -> None:
    run = runs[0, 0]
    kept = Run(run.images, run.firings[run.firings["sample"] != 1])
    found = score(SAMPLES, CONDITIONS[:1], baseline, {(0, 0): kept}, METRICS, resamples=50)
    by_sample = found["energy_moved_by_sample"].values[0, 0]
    assert np.isnan(by_sample).tolist() == [False, True, False]
    assert float(found["energy_moved"][0]) == pytest.approx(np.nanmean(by_sample))


def test_a_sample_that_went_nan_has_no_clean_share(runs, baseline) -> None:
    run = runs[0, 0]
    rows = run.firings.copy()
    lost = (rows["sample"] == 1) & (rows["step"] == 1)
    rows.loc[lost, ["energy", "removed", "moved"]] = np.nan
    found = score(SAMPLES, CONDITIONS[:1], baseline, {(0, 0): Run(run.images, rows)}, METRICS, resamples=50)
    assert np.isnan(found["energy_removed_by_sample"].values[0, 0]).tolist() == [False, True, False]
    assert np.isnan(found["energy_removed"])
    assert np.isnan(found["energy_moved"])


def test_effects_are_paired_by_sample_and_averaged_over_draws(result, runs, baseline) -> None:
    level = {at: run.images.mean(axis=(1, 2, 3)) - baseline.mean(axis=(1, 2, 3)) for at, run in runs.items()}
    means = [level[0, 0].mean(), np.mean([level[1, 0], level[1, 1]])]
    np.testing.assert_allclose(result["mean"].sel(metric="level"), means)
    np.testing.assert_allclose(result["contrast_mean"].sel(metric="level"), [0, means[0] - means[1]])
    gap = [abs(runs[1, 1].images[at].astype(int) - baseline[at]).max() for at in range(3)]
    assert result["effect"].sel(metric="gap", edit="random", draw=1).values.tolist() == gap
    assert result["label"].values.tolist() == ["change in mean level", "largest gap"]
    assert result["control"].values.tolist() == [False, True]
    assert list(zip(result["prompt"].values, result["seed"].values, strict=True)) == SAMPLES


@pytest.fixture(scope="module")
def many() -> xr.Dataset:
    """Four edits, ten prompts, a metric of each kind."""
    rng = np.random.default_rng(4)
    samples = [(f"p{number}", 1) for number in range(10)]
    conditions = [Condition(f"edit {row}", (ds.edits.zero([row]),)) for row in range(4)]
    place = dict(zip(PLACE, (0, "cond", 0, "image", "block_output"), strict=True))
    rows = [{**place, "sample": row, "energy": 1.0, "removed": 0.5, "moved": 0.5} for row in range(10)]
    runs = {
        (row, 0): Run(rng.integers(0, 200 + 10 * row, (10, 2, 4, 3), dtype=np.uint8), pd.DataFrame(rows))
        for row in range(4)
    }
    bright = Metric("bright", "bright", lambda images: images[:, 0, 0, 0] > 90, binary=True)
    centre = Metric(
        "centre",
        "gap of means",
        lambda images: images.mean((1, 2)),
        distance=lambda one, other: float(np.linalg.norm(one.mean(0) - other.mean(0))),
    )
    metrics = {**METRICS, "bright": bright, "centre": centre}
    base = np.random.default_rng(1).integers(0, 256, (10, 2, 4, 3), dtype=np.uint8)
    found = score(samples, conditions, base, runs, metrics, resamples=400)
    return found.assign_attrs(
        of_sets=set_intervals(centre, conditions, base, runs, [name for name, _ in samples])
    )


@pytest.mark.parametrize("metric", ["level", "gap", "bright"])
def test_edits_of_one_metric_are_a_family(many, metric) -> None:
    effect = many["effect"].sel(metric=metric, draw=0).values
    limits = (-1, 1) if metric == "bright" else None
    alone = bootstrap_mean(effect, resamples=400, limits=limits)
    together = bootstrap_mean(effect, resamples=400, limits=limits, together=True)
    at = many.sel(metric=metric)
    for name, interval in (("", alone), ("simultaneous_", together)):
        np.testing.assert_allclose(at[f"{name}low"], interval.low)
        np.testing.assert_allclose(at[f"{name}high"], interval.high)
    # The first edit's contrast with itself is nothing, and no member of the family.
    contrast = bootstrap_mean(effect[0] - effect[1:], resamples=400, limits=limits, together=True)
    np.testing.assert_allclose(at["contrast_simultaneous_low"], [0, *contrast.low], atol=1e-12)
    np.testing.assert_allclose(at["contrast_simultaneous_high"], [0, *contrast.high], atol=1e-12)
    assert (at["contrast_simultaneous_low"] <= at["contrast_low"]).all()
    assert (at["simultaneous_high"] >= at["high"]).all()


def test_a_metric_over_a_set_has_its_number_where_the_others_have_their_mean(many) -> None:
    at = many.sel(metric="centre")
    assert many["over"].values.tolist() == ["image", "image", "image", "set"]
    assert many["binary"].values.tolist() == [False, False, True, False]
    assert np.isnan(at["effect"]).all()
    for name, values in many.attrs["of_sets"].items():
        np.testing.assert_array_equal(at[name], values)
    assert (at["simultaneous_low"] < at["low"]).all()


def test_one_edit_has_no_contrast_but_zero(runs, baseline) -> None:
    found = score(SAMPLES, CONDITIONS[:1], baseline, {(0, 0): runs[0, 0]}, METRICS, resamples=50)
    assert found["contrast_simultaneous_high"].dims == ("metric", "edit")
    assert not found["contrast_simultaneous_high"].values.any()
    xr.testing.assert_equal(found["simultaneous_low"], found["low"].rename("simultaneous_low"))
