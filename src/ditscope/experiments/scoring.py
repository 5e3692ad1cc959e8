"""Scores of runs beside their baseline, paired by sample, with intervals over prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ditscope.experiments.matches import match_ratio, matched_to
from ditscope.experiments.running import Condition, Run
from ditscope.experiments.set_scoring import set_intervals
from ditscope.intervals import interval_over
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
    result = _with_intervals(result, resamples)
    for name, metric in scorers.items():
        if metric.over == "set":
            prompts = result["prompt"].values.tolist()
            for key, values in set_intervals(metric, conditions, baseline, runs, prompts).items():
                result[key].loc[{"metric": name}] = values
    return result


def _scores(samples, conditions, baseline, runs: Mapping[tuple[int, int], Run], scorers) -> xr.Dataset:
    prompts = [str(prompt) for prompt, _ in samples]
    shape = (len(conditions), max(condition.draws for condition in conditions))
    images = np.zeros((*shape, *baseline.shape), np.uint8)
    value = np.full((len(scorers), *shape, len(samples)), np.nan)
    own = np.full((len(scorers), len(samples)), np.nan)
    for at, run in runs.items():
        images[at] = run.images
    for position, metric in enumerate(scorers.values()):
        if metric.over == "set":
            continue
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
            "over": ("metric", [metric.over for metric in scorers.values()]),
            "binary": ("metric", [metric.binary for metric in scorers.values()]),
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
    contrast = effect.isel(edit=0, drop=True) - effect.isel(edit=slice(1, None))
    found = {
        f"{name}{kind}{end}": values
        for name, effects in (("", effect), ("contrast_", contrast))
        for kind, together in (("", None), ("simultaneous_", "edit"))
        for end, values in _intervals(effects, resamples, together).items()
        if not kind or end != "mean"
    }
    # A contrast of the first edit with itself is 0, and no member of the family.
    whole = {
        name: each.reindex(edit=result["edit"], fill_value=0.0) if name.startswith("contrast_") else each
        for name, each in found.items()
    }
    return result.assign(whole)


def _intervals(effects: xr.DataArray, resamples: int, together: str | None) -> xr.Dataset:
    """``mean``, ``low`` and ``high`` ``[metric, edit]`` of effects ``[metric, edit, sample]``."""
    if not effects.sizes["edit"]:
        none = effects.isel(sample=[]).sum("sample")
        return xr.Dataset(dict.fromkeys(("mean", "low", "high"), none))
    each = [
        interval_over(
            effects.isel(metric=[row]),
            resamples=resamples,
            together=together,
            limits=(-1.0 + paired, 1.0) if binary else None,
        )
        for row, (paired, binary) in enumerate(
            zip(effects["paired"].values, effects["binary"].values, strict=True)
        )
    ]
    return xr.concat(each, dim="metric")
