"""Scores of runs beside their baseline, paired by sample, with intervals over prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ditscope.experiments.matches import match_ratio, matched_to
from ditscope.experiments.running import Condition, Run
from ditscope.intervals import interval_over, paired_difference
from ditscope.metrics.metric import Metric
from ditscope.tracing.prompt_embeds import Prompt


def score(
    samples: Sequence[tuple[Prompt, int]],
    conditions: Sequence[Condition],
    baseline: np.ndarray,
    runs: Mapping[tuple[int, int], Run],
    scorers: Mapping[str, Metric],
    resamples: int,
) -> xr.Dataset:
    """Values, effects, contrasts, energies and images; see :func:`ditscope.experiments.compare.compare`.

    Args:
        samples: (prompt, seed) of each sample.
        conditions: what was run.
        baseline: images without edits, uint8 ``[sample, y, x, rgb]``.
        runs: the runs by (condition, draw).
        scorers: the metrics by name.
        resamples: bootstrap draws of the intervals.
    """
    result = _scores(samples, conditions, baseline, runs, scorers)
    result = result.merge(_energies(len(conditions), runs, len(samples)))
    result = result.merge(_matches(conditions, runs, len(samples)))
    return _with_intervals(result, resamples)


def _scores(samples, conditions, baseline, runs: Mapping[tuple[int, int], Run], scorers) -> xr.Dataset:
    prompts = [str(prompt) for prompt, _ in samples]
    shape = (len(conditions), max(condition.draws for condition in conditions))
    images = np.zeros((*shape, *baseline.shape), np.uint8)
    value = np.full((len(scorers), *shape, len(samples)), np.nan)
    own = np.full((len(scorers), len(samples)), np.nan)
    for at, run in runs.items():
        images[at] = run.images
    for position, metric in enumerate(scorers.values()):
        if not metric.paired:
            own[position] = metric(baseline, reference=baseline, prompts=prompts)
        for at, run in runs.items():
            value[position, *at] = metric(run.images, reference=baseline, prompts=prompts)
    paired = [metric.paired for metric in scorers.values()]
    effect = np.where(np.reshape(paired, (-1, 1, 1, 1)), value, value - own[:, None, None])
    dims = ("metric", "edit", "draw", "sample")
    pixels = ("y_pixel", "x_pixel", "rgb")
    return xr.Dataset(
        {
            "value": (dims, value),
            "effect": (dims, effect),
            "baseline_value": (("metric", "sample"), own),
            "images": (("edit", "draw", "sample", *pixels), images),
            "baseline_images": (("sample", *pixels), baseline),
        },
        coords={
            "metric": list(scorers),
            "edit": [condition.name for condition in conditions],
            "draw": range(shape[1]),
            "sample": range(len(samples)),
            "prompt": ("sample", prompts),
            "seed": ("sample", [int(seed) for _, seed in samples]),
            "unit": ("metric", [metric.unit for metric in scorers.values()]),
            "paired": ("metric", paired),
            "label": ("metric", [_effect_label(metric) for metric in scorers.values()]),
            "damage": ("metric", [metric.damage for metric in scorers.values()]),
            "direction": ("metric", [metric.better for metric in scorers.values()]),
            "draws": ("edit", [condition.draws for condition in conditions]),
            "control": ("edit", [condition.control for condition in conditions]),
        },
    )


def _effect_label(metric: Metric) -> str:
    return metric.label if metric.paired else f"change in {metric.label}"


def _energies(n_conditions: int, runs: Mapping[tuple[int, int], Run], n_samples: int) -> xr.Dataset:
    n_draws = 1 + max(draw for _, draw in runs)
    fired = np.zeros((n_conditions, n_draws))
    removed, moved = np.full((2, n_conditions, n_draws, n_samples), np.nan)
    measured = np.zeros((n_conditions, n_draws, n_samples), bool)
    for at, run in runs.items():
        fired[at] = len(run.firings) / n_samples
        # Several edits at one place share the stream's energy there; it counts once.
        places = run.firings.drop_duplicates(["sample", "step", "branch", "block", "stream", "site"])
        energy = _totals(places, "energy")
        removed[*at, energy.index] = _totals(run.firings, "removed") / energy
        moved[*at, energy.index] = _totals(run.firings, "moved") / energy
        measured[*at, energy.index] = True
    per_sample = ("edit", "draw", "sample")
    return xr.Dataset(
        {
            "fired": (("edit", "draw"), fired),
            "energy_removed_by_sample": (per_sample, removed),
            "energy_moved_by_sample": (per_sample, moved),
            "energy_removed": ("edit", np.mean(removed, axis=(1, 2), where=measured)),
            "energy_moved": ("edit", np.mean(moved, axis=(1, 2), where=measured)),
        }
    )


def _matches(
    conditions: Sequence[Condition], runs: Mapping[tuple[int, int], Run], n_samples: int
) -> xr.Dataset:
    ratio = np.full((len(conditions), 1 + max(draw for _, draw in runs), n_samples), np.nan)
    for (row, draw), run in runs.items():
        ratio[row, draw] = match_ratio(conditions[row].draw(draw), run.firings, n_samples)
    named = ("edit", [matched_to(condition.edits) for condition in conditions])
    return xr.Dataset({"match_ratio": (("edit", "draw", "sample"), ratio)}, coords={"matched_to": named})


def _totals(firings: pd.DataFrame, column: str) -> pd.Series:
    # numpy's sum keeps NaN, which pandas' would take for nothing.
    return firings.groupby("sample")[column].agg(lambda values: values.to_numpy().sum())


def _with_intervals(result: xr.Dataset, resamples: int) -> xr.Dataset:
    # Draws are averaged first: the interval is that of the mean over draws, for these prompts.
    effect = result["effect"].mean("draw")
    interval = interval_over(effect, over="sample", cluster="prompt", resamples=resamples)
    result = result.assign({name: interval[name] for name in ("mean", "low", "high")})
    first = effect.isel(edit=0, drop=True)
    contrasts = [
        paired_difference(
            first, effect.isel(edit=row, drop=True), over="sample", cluster="prompt", resamples=resamples
        )
        for row in range(effect.sizes["edit"])
    ]
    contrast = xr.concat(contrasts, dim="edit").assign_coords(edit=result["edit"])
    contrast = contrast.transpose("metric", "edit", ...)
    return result.assign({f"contrast_{name}": contrast[name] for name in ("mean", "low", "high")})
