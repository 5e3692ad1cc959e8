"""Scores of hand-made runs: energies by sample against a loop, effects, and draws and runs that are missing."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.experiments.conditions import Condition
from ditscope.experiments.outline import Outline, RunKey
from ditscope.experiments.scoring import Made, Scored, assemble, score_baseline, score_run
from ditscope.intervals import bootstrap_mean
from ditscope.metrics.metric import Metric

SAMPLES = [("red", 4), ("red", 8), ("blue", 4)]
DRAWN = ChannelSet(xr.DataArray([[1], [2]], dims=("draw", "rank")), control=True)
CONDITIONS = [
    Condition("pair", (ds.edits.zero([3]), ds.edits.zero([4]))),
    Condition("random", (ds.edits.zero(DRAWN),)),
]
AT = [(0, 0), (1, 0), (1, 1)]
BATCHES = ([0, 1], [2])
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
    for batch in BATCHES:
        places = itertools.product(range(2), ("cond", "uncond"), (0, 7), ("image",), ("block_output",))
        for place in places:
            for edit, sample in itertools.product(range(n_edits), batch):
                if (sample, *place[:3]) != (1, 1, "uncond", 7):
                    removed, moved = rng.normal(), rng.random()
                    # The second edit finds the energy that the first has left.
                    energy = rng.random() + 5 - 4 * edit
                    rows.append((*place, sample, f"edit {edit}", energy, removed, moved))
    return pd.DataFrame(rows, columns=[*PLACE, "sample", "edit", "energy", "removed", "moved"])


class Run:
    """What the two batches of a run made: images, and firings with the column ``sample``."""

    def __init__(self, images: np.ndarray, firings: pd.DataFrame) -> None:
        self.images, self.firings = images, firings

    def scored(self, baseline: np.ndarray, batch: int, condition: Condition):
        rows = BATCHES[batch]
        fired = self.firings[self.firings["sample"].isin(rows)]
        fired = fired.assign(row=fired["sample"] - rows[0])
        samples = [SAMPLES[row] for row in rows]
        made, bare = Made(self.images[rows]), Made(baseline[rows])
        return score_run(METRICS, made, bare, samples, rows, condition.edits, fired, 1)


def score(baseline: np.ndarray, runs: dict[tuple[int, int], Run], cells: int = 1) -> xr.Dataset:
    """The result of runs of the first conditions, in the last of several cells."""
    n_edits = 1 + max(edit for edit, _ in runs)
    outline = Outline(
        dims={"block": list(range(cells))} if cells > 1 else {},
        edits=[condition.name for condition in CONDITIONS[:n_edits]],
        draws=[[condition.draws for condition in CONDITIONS[:n_edits]]] * cells,
        control=[condition.control for condition in CONDITIONS[:n_edits]],
        matched_to=[""] * n_edits,
        metrics=[
            {"metric": name, "paired": metric.paired, "over": metric.over, "binary": metric.binary}
            for name, metric in METRICS.items()
        ],
        prompts=[prompt for prompt, _ in SAMPLES],
        seeds=[seed for _, seed in SAMPLES],
        batch_size=2,
        images="drop",
        image_size=None,
        attrs={},
    )
    baselines = {
        batch: score_baseline(METRICS, Made(baseline[rows]), [SAMPLES[row][0] for row in rows], rows)
        for batch, rows in enumerate(BATCHES)
    }
    scored = {
        RunKey(cells - 1, *at, batch): run.scored(baseline, batch, CONDITIONS[at[0]])
        for at, run in runs.items()
        for batch in (0, 1)
    }
    return assemble(outline, baselines, scored, {}, resamples=50)


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
    return score(baseline, runs)


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
    found = score(baseline, {(0, 0): kept})
    by_sample = found["energy_moved_by_sample"].values[0, 0]
    assert np.isnan(by_sample).tolist() == [False, True, False]
    assert float(found["energy_moved"][0]) == pytest.approx(np.nanmean(by_sample))


def test_a_sample_that_went_nan_has_no_clean_share(runs, baseline) -> None:
    run = runs[0, 0]
    rows = run.firings.copy()
    lost = (rows["sample"] == 1) & (rows["step"] == 1)
    rows.loc[lost, ["energy", "removed", "moved"]] = np.nan
    found = score(baseline, {(0, 0): Run(run.images, rows)})
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
    assert result["control"].values.tolist() == [False, True]
    assert list(zip(result["prompt"].values, result["seed"].values, strict=True)) == SAMPLES


def test_cells_of_a_grid_are_scored_each_by_itself(runs, baseline, result) -> None:
    found = score(baseline, runs, cells=3)
    assert found["value"].dims == ("metric", "block", "edit", "draw", "sample")
    assert found["contrast_low"].dims == ("metric", "block", "edit")
    assert found["fired"].dims == ("block", "edit", "draw")
    for name in result.data_vars:
        last = found[name].isel(block=2) if "block" in found[name].dims else found[name]
        np.testing.assert_array_equal(last, result[name], name)
    # What was not run has no number.
    assert np.isnan(found["effect"].isel(block=[0, 1])).all()
    assert np.isnan(found["energy_moved"].isel(block=0)).all()


def test_latents_are_compared_after_the_last_edited_step(baseline) -> None:
    latents = {
        "gap": Metric("gap", "gap", lambda latents, reference_latents: (latents - reference_latents)[:, 0, 0])
    }
    made, bare = (Made(latents=np.arange(4.0)[None, :, None, None] * factor) for factor in (3.0, 1.0))
    rows = firings(np.random.default_rng(0), 1).query("sample == 0").assign(row=0)
    for steps in (1, 3):
        assert score_run(latents, made, bare, SAMPLES[:1], range(1), (), rows, steps).scores.tolist() == [
            [2.0 * steps]
        ]
    level = {"level": Metric("level", "level", lambda latents: latents[:, 0, 0])}
    assert score_baseline(level, bare, ["red"], range(1)).scores.tolist() == [[3.0]]


@pytest.fixture(scope="module")
def many() -> xr.Dataset:
    """Four edits, ten prompts, a metric of each kind that judges image by image, in two cells."""
    rng, base = np.random.default_rng(4), np.random.default_rng(1).normal(size=(3, 10))
    metrics = {"level": (False, False), "gap": (True, False), "bright": (False, True)}
    outline = Outline(
        dims={"block": [0, 1]},
        edits=[f"edit {row}" for row in range(4)],
        draws=[[1] * 4] * 2,
        control=[False] * 4,
        matched_to=[""] * 4,
        metrics=[
            {"metric": name, "paired": paired, "over": "image", "binary": binary}
            for name, (paired, binary) in metrics.items()
        ],
        prompts=[f"p{number}" for number in range(10)],
        seeds=[1] * 10,
        batch_size=10,
        images="drop",
        image_size=None,
        attrs={},
    )
    base[2] = base[2] > 0

    def scored(row: int) -> Scored:
        values = base + rng.normal(size=(3, 10)) + row
        values[2] = values[2] > 1
        return Scored(values, np.ones(10, int), *np.ones((3, 10)))

    runs = {RunKey(cell, row, 0, 0): scored(row) for cell in range(2) for row in range(4)}
    nothing = np.full(10, np.nan)
    baseline = Scored(np.where([[False], [True], [False]], np.nan, base), np.zeros(10, int), *[nothing] * 3)
    return assemble(outline, {0: baseline}, runs, {}, resamples=400)


@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("metric", ["level", "gap", "bright"])
def test_edits_of_one_metric_and_cell_are_a_family(many, metric, block) -> None:
    at = many.sel(metric=metric, block=block)
    effect = at["effect"].sel(draw=0).transpose("edit", "sample").values
    limits = (-1, 1) if metric == "bright" else None
    alone = bootstrap_mean(effect, resamples=400, limits=limits)
    together = bootstrap_mean(effect, resamples=400, limits=limits, together=True)
    for name, interval in (("", alone), ("simultaneous_", together)):
        np.testing.assert_allclose(at[f"{name}low"], interval.low)
        np.testing.assert_allclose(at[f"{name}high"], interval.high)
    # The first edit's contrast with itself is nothing, and no member of the family.
    contrast = bootstrap_mean(effect[0] - effect[1:], resamples=400, limits=limits, together=True)
    np.testing.assert_allclose(at["contrast_simultaneous_low"], [0, *contrast.low], atol=1e-12)
    np.testing.assert_allclose(at["contrast_simultaneous_high"], [0, *contrast.high], atol=1e-12)
    assert (at["contrast_simultaneous_low"] <= at["contrast_low"]).all()
    assert (at["simultaneous_high"] >= at["high"]).all()


def test_one_edit_has_no_contrast_but_zero(runs, baseline) -> None:
    found = score(baseline, {(0, 0): runs[0, 0]})
    assert found["contrast_simultaneous_high"].dims == ("metric", "edit")
    assert not found["contrast_simultaneous_high"].values.any()
    xr.testing.assert_equal(found["simultaneous_low"], found["low"].rename("simultaneous_low"))
