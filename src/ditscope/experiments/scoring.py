"""Scores of runs beside their baseline, paired by sample, with intervals over prompts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ditscope.experiments.matches import match_ratio
from ditscope.experiments.outline import Outline, RunKey
from ditscope.intervals import interval_over
from ditscope.metrics.metric import Metric

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit

_PLACE = ["row", "step", "branch", "block", "stream", "site"]


@dataclass(frozen=True, eq=False)
class Made:
    """What one run makes of a batch, as metrics take it.

    Attributes:
        images: uint8 ``[sample, y, x, rgb]``; None where nothing was decoded.
        latents: float32 ``[sample, step boundary, token, latent channel]``: of the start, and after each step; None
            where no metric needs them.
    """

    images: np.ndarray | None = None
    latents: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """What is kept of a run of one batch, or of the batch's baseline, beside images.

    Attributes:
        scores: ``[metric, sample]``; NaN of a baseline where a metric compares with it.
        fired: firings of each ``[sample]``, 0 where no edit acted on a token of it; 0 of a baseline.
        removed: share ``[sample]`` of the edited stream's energy that was removed where the edits fired.
        moved: the same for the squared change.
        matched: ``[sample]``, what channels that match others reached over what was wanted; NaN for all others.
    """

    scores: np.ndarray
    fired: np.ndarray
    removed: np.ndarray
    moved: np.ndarray
    matched: np.ndarray


def score_baseline(
    scorers: Mapping[str, Metric], made: Made, prompts: Sequence[str], positions: Sequence[int]
) -> Scored:
    """The baseline's own scores."""
    nothing = np.full(len(prompts), np.nan)
    latents = None if made.latents is None else made.latents[:, -1]
    inputs = {"prompts": prompts, "latents": latents, "positions": positions}
    own = [nothing if metric.paired else metric(made.images, **inputs) for metric in scorers.values()]
    return Scored(np.stack(own), np.zeros(len(prompts), int), nothing, nothing, nothing)


def score_run(
    scorers: Mapping[str, Metric],
    made: Made,
    baseline: Made,
    samples: Sequence[tuple[Any, Any]],
    positions: Sequence[int],
    edits: Sequence[Edit],
    firings: pd.DataFrame,
    steps: int,
) -> Scored:
    """The scores of one run of a batch, and what its edits did.

    Args:
        scorers: the metrics by name.
        made: what the run made.
        baseline: what the unedited one made.
        samples: (prompt, seed) of each.
        positions: of these samples among all.
        edits: what was applied, each with one draw.
        firings: of :meth:`ditscope.edits.firings.Firings.table`.
        steps: how many steps the edits reach: latents are compared with the unedited run's after the last of them, and
            by themselves at the end, as those of the baseline are.
    """
    latents = [None if each.latents is None else each.latents[:, steps] for each in (made, baseline)]
    last = None if made.latents is None else made.latents[:, -1]
    inputs = {
        "reference": baseline.images,
        "prompts": [str(prompt) for prompt, _ in samples],
        "positions": positions,
        "latents": latents[0],
        "reference_latents": latents[1],
    }
    # Several edits at one place share the stream's energy there; it counts once.
    energy = _totals(firings.drop_duplicates(_PLACE), "energy")
    count = np.bincount(firings["row"], minlength=len(samples))
    removed, moved = np.full((2, len(samples)), np.nan)
    removed[energy.index] = _totals(firings, "removed") / energy
    moved[energy.index] = _totals(firings, "moved") / energy
    # The numbers of sets are made once all images are there.
    nothing = np.full(len(samples), np.nan)
    scores = [
        nothing
        if each.over == "set"
        else each(made.images, **(inputs if each.paired else inputs | {"latents": last}))
        for each in scorers.values()
    ]
    matched = match_ratio(edits, firings, samples, positions)
    return Scored(np.stack(scores), count, removed, moved, matched)


def _totals(firings: pd.DataFrame, column: str) -> pd.Series:
    # numpy's sum keeps NaN, which pandas' would take for nothing.
    return firings.groupby("row")[column].agg(lambda values: values.to_numpy().sum())


def assemble(
    outline: Outline,
    baselines: Mapping[int, Scored],
    runs: Mapping[RunKey, Scored],
    images: Mapping[str, xr.Variable],
    resamples: int,
) -> xr.Dataset:
    """Values, effects, contrasts, energies and images; see :func:`ditscope.experiments.sweep.sweep`.

    Args:
        outline: what the sweep consists of.
        baselines: by batch, those that there are.
        runs: those that there are.
        images: variables of images by name.
        resamples: bootstrap draws of the intervals.
    """
    for variable in images.values():
        # NetCDF 3, which xarray always writes, has no uint8. How a sweep's store holds them does not fit that.
        variable.encoding = {"dtype": "int16"}
    n_metrics, n_samples = len(outline.metrics), len(outline.prompts)
    by_run = (len(outline.draws), len(outline.edits), outline.most_draws)
    value = np.full((n_metrics, *by_run, n_samples), np.nan)
    own = np.full((n_metrics, n_samples), np.nan)
    removed, moved, matched = np.full((3, *by_run, n_samples), np.nan)
    count = np.zeros((*by_run, n_samples))
    for batch, of_batch in baselines.items():
        own[:, outline.positions(batch)] = of_batch.scores
    for (cell, edit, draw, batch), run in runs.items():
        samples = outline.positions(batch)
        value[:, cell, edit, draw, samples] = run.scores
        count[cell, edit, draw, samples] = run.fired
        removed[cell, edit, draw, samples] = run.removed
        moved[cell, edit, draw, samples] = run.moved
        matched[cell, edit, draw, samples] = run.matched
    paired = [metric["paired"] for metric in outline.metrics]
    effect = np.where(np.reshape(paired, (-1, 1, 1, 1, 1)), value, value - own[:, None, None, None])
    grid, shape = tuple(outline.dims), outline.shape
    # A sample in which nothing fired says nothing of the edit.
    measured = count > 0
    effect = np.where(measured, effect, np.nan)

    def over_grid(dims: tuple[str, ...], array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """An array whose axis ``cell`` is that of all the grid's dimensions."""
        axis = dims.index("cell")
        whole = array.reshape(*array.shape[:axis], *shape, *array.shape[axis + 1 :])
        return (*dims[:axis], *grid, *dims[axis + 1 :]), whole

    arrays = {
        "value": (("metric", "cell", "edit", "draw", "sample"), value),
        "effect": (("metric", "cell", "edit", "draw", "sample"), effect),
        "fired": (("cell", "edit", "draw"), count.sum(-1) / np.maximum(measured.sum(-1), 1)),
        "fired_by_sample": (("cell", "edit", "draw", "sample"), count),
        "energy_removed_by_sample": (("cell", "edit", "draw", "sample"), removed),
        "energy_moved_by_sample": (("cell", "edit", "draw", "sample"), moved),
        "match_ratio": (("cell", "edit", "draw", "sample"), matched),
        "energy_removed": (("cell", "edit"), _mean_where(removed, measured)),
        "energy_moved": (("cell", "edit"), _mean_where(moved, measured)),
    }
    result = xr.Dataset(
        {name: over_grid(*each) for name, each in arrays.items()}
        | {"baseline_value": (("metric", "sample"), own), **images},
        coords={
            **{name: list(labels) for name, labels in outline.dims.items()},
            "edit": list(outline.edits),
            "draw": range(outline.most_draws),
            "sample": range(n_samples),
            "prompt": ("sample", list(outline.prompts)),
            "seed": ("sample", list(outline.seeds)),
            **{
                name: ("metric", [each[name] for each in outline.metrics])
                for name in outline.metrics[0]
                if name != "made_of"
            },
            "draws": ("edit", np.max(outline.draws, axis=0)),
            "control": ("edit", list(outline.control)),
            "matched_to": ("edit", list(outline.matched_to)),
        },
    )
    return _in_order(_with_intervals(result, resamples), grid)


def _mean_where(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Over draws and samples in which something fired; NaN where nothing did."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice|invalid value", RuntimeWarning)
        return np.mean(values, axis=(-2, -1), where=measured)


def _in_order(result: xr.Dataset, grid: tuple[str, ...]) -> xr.Dataset:
    """Every variable with its dimensions in one order."""
    order = ("metric", *grid, "edit", "draw", "sample", "y_pixel", "x_pixel", "rgb")
    return result.transpose(*(name for name in order if name in result.dims), ...)


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
    return result.assign(whole | {"n_samples": effect.notnull().sum("sample")})


def _intervals(effects: xr.DataArray, resamples: int, together: str | None) -> xr.Dataset:
    """``mean``, ``low`` and ``high`` ``[metric, ..., edit]`` of effects ``[metric, ..., edit, sample]``."""
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
