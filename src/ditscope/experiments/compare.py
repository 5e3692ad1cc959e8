"""``compare``: the same prompts and seeds with and without each edit, scored, paired, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from ditscope import checks
from ditscope.edits.applying import EditedVisit
from ditscope.edits.channel_edits import Edit
from ditscope.errors import InputError
from ditscope.intervals import LEVEL, check_interval, interval_over, paired_difference
from ditscope.metrics.metric import Metric, resolve
from ditscope.models.embedded import EMBEDDED, embedded_folder
from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced
from ditscope.tracing.samples import pair_samples

if TYPE_CHECKING:
    from ditscope.metrics.clip_scorer import ClipScorer
    from ditscope.models.dit import DiT


def compare(
    dit: DiT,
    prompts: str | Sequence[str],
    seeds: int | Sequence[int],
    edits: Mapping[str, Edit | Sequence[Edit]],
    metrics: Iterable[str | Metric] = ("clip_score", "psnr", "ssim", "high_frequency_energy"),
    *,
    clip: ClipScorer | str | None = None,
    batch_size: int = 1,
    resamples: int = 2000,
    **call: Any,
) -> xr.Dataset:
    """Generate every sample without edits and under each edit, and score the difference.

    Baseline and edited image share prompt, seed, batch and call, so the only difference is the edit.

    Args:
        dit: the model.
        prompts: one or more prompts.
        seeds: one or more seeds; samples are prompts x seeds, prompt-major.
        edits: name -> edit, or several edits applied together. The first is what the others are
            compared with. An edit of random channels with several draws is run once a draw.
        metrics: names of :data:`ditscope.metrics.METRICS`, or Metric objects.
        clip: the scorer for metrics that need one; the embedded pipeline brings its own.
        batch_size: images generated together.
        resamples: bootstrap draws of the intervals.
        **call: pipeline arguments, the same for all runs.

    Returns:
        Dataset with, per ``metric``, ``edit``, ``draw`` and ``sample``:

        * ``value``: the edited image's score; ``effect``: edited minus baseline for metrics that judge
          one image, the score itself for metrics that compare with the baseline image;
        * ``baseline_value`` ``[metric, sample]``: the baseline image's own score (NaN for comparing metrics);
        * ``mean``, ``low``, ``high`` ``[metric, edit]``: the effect with a bootstrap interval over prompts;
        * ``contrast_mean``, ``contrast_low``, ``contrast_high``: the first edit's effect minus this one's,
          paired by sample;
        * ``fired`` ``[edit, draw]``: firings a sample; ``energy_removed``: share of the edited stream's
          energy that was removed where the edit fired; ``energy_moved``: the same for the squared change;
        * ``images`` ``[edit, draw, sample, y_pixel, x_pixel, rgb]`` and ``baseline_images``, uint8.

    Raises:
        InputError: before the first run, for anything that cannot be used.
        EditError: an edit that never fired.
    """
    checks.whole_number("batch_size", batch_size)
    check_interval(LEVEL, resamples)
    pairs = pair_samples(checks.prompts(prompts), checks.seeds(seeds))
    programs = _programs(edits)
    if clip is None and dit.name == EMBEDDED:
        clip = str(embedded_folder() / "clip")
    scorers = resolve(metrics, clip=clip)
    n_steps = probe(dit, pairs[:batch_size], **call).schedule.steps.stop
    for program in programs.values():
        EditedVisit(dit, [edit.draw(0) for edit in program], n_steps)
    draws = {name: max(edit.draws for edit in program) for name, program in programs.items()}

    runs = len(pairs) * (1 + sum(draws.values()))
    with tqdm(total=runs, desc="compare", unit="image", disable=None) as progress:
        baseline, _ = _generate(dit, pairs, None, n_steps, batch_size, progress, call)
        shape = (len(programs), max(draws.values()), *baseline.shape)
        images = np.zeros(shape, np.uint8)
        firings: dict[tuple[int, int], pd.DataFrame] = {}
        for row, (name, program) in enumerate(programs.items()):
            for draw in range(draws[name]):
                drawn = [edit.draw(draw % edit.draws) for edit in program]
                images[row, draw], firings[row, draw] = _generate(
                    dit, pairs, drawn, n_steps, batch_size, progress, call
                )
    result = _score(pairs, list(programs), draws, baseline, images, scorers)
    result = result.merge(_energies(list(programs), firings, len(pairs)))
    return _with_intervals(result, scorers, resamples).assign_attrs(
        model=dit.name, batch_size=batch_size, n_steps=n_steps, call=str({**dit.call_defaults, **call})
    )


def _programs(edits: Mapping[str, Edit | Sequence[Edit]]) -> dict[str, list[Edit]]:
    if not isinstance(edits, Mapping) or not edits:
        raise InputError("no edits", "a dict of name -> edit", "Pass edits={'massive': zero}.")
    programs = {name: [edit] if isinstance(edit, Edit) else list(edit) for name, edit in edits.items()}
    for name, program in programs.items():
        if not program or not all(isinstance(edit, Edit) for edit in program):
            raise InputError(
                f"edits {name!r}: {program!r}", "ditscope edits", "Make them with ditscope.edits."
            )
    return programs


def _generate(dit, pairs, program, n_steps, batch_size, progress, call) -> tuple[np.ndarray, pd.DataFrame]:
    images, tables = [], []
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        visitor = EditedVisit(dit, program, n_steps) if program else None
        images.append(run_traced(dit, batch, visitor, **call).images)
        if visitor is not None:
            visitor.require_fired()
            table = visitor.firings.table()
            tables.append(table.assign(sample=table["row"] + start))
        progress.update(len(batch))
    return np.concatenate(images), pd.concat(tables) if tables else pd.DataFrame()


def _score(pairs, names, draws, baseline, images, scorers: Mapping[str, Metric]) -> xr.Dataset:
    prompts = [prompt for prompt, _ in pairs]
    value = np.full((len(scorers), *images.shape[:3]), np.nan)
    own = np.full((len(scorers), len(pairs)), np.nan)
    for position, metric in enumerate(scorers.values()):
        if not metric.paired:
            own[position] = metric(baseline, reference=baseline, prompts=prompts)
        for row, name in enumerate(names):
            for draw in range(draws[name]):
                value[position, row, draw] = metric(images[row, draw], reference=baseline, prompts=prompts)
    paired = np.array([metric.paired for metric in scorers.values()])
    effect = np.where(paired[:, None, None, None], value, value - own[:, None, None])
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
            "edit": names,
            "draw": range(images.shape[1]),
            "sample": range(len(pairs)),
            "prompt": ("sample", prompts),
            "seed": ("sample", [seed for _, seed in pairs]),
            "unit": ("metric", [metric.unit for metric in scorers.values()]),
            "paired": ("metric", [metric.paired for metric in scorers.values()]),
            "label": ("metric", [_effect_label(metric) for metric in scorers.values()]),
            "damage": ("metric", [metric.damage for metric in scorers.values()]),
            "direction": ("metric", [metric.better for metric in scorers.values()]),
            "draws": ("edit", [draws[name] for name in names]),
        },
    )


def _effect_label(metric: Metric) -> str:
    return metric.label if metric.paired else f"change in {metric.label}"


def _energies(names, firings: Mapping[tuple[int, int], pd.DataFrame], n_samples: int) -> xr.Dataset:
    n_draws = 1 + max(draw for _, draw in firings)
    fired = np.zeros((len(names), n_draws))
    removed, moved = np.full((2, len(names), n_draws, n_samples), np.nan)
    for (row, draw), table in firings.items():
        fired[row, draw] = len(table) / n_samples
        # Several edits at one place share the stream's energy there; it counts once.
        place = ["sample", "step", "branch", "block", "stream", "site"]
        places = table.groupby(place).agg({"energy": "first", "removed": "sum", "moved": "sum"})
        sums = places.groupby("sample").sum()
        removed[row, draw, sums.index] = sums["removed"] / sums["energy"]
        moved[row, draw, sums.index] = sums["moved"] / sums["energy"]
    per_sample = ("edit", "draw", "sample")
    return xr.Dataset(
        {
            "fired": (("edit", "draw"), fired),
            "energy_removed_by_sample": (per_sample, removed),
            "energy_moved_by_sample": (per_sample, moved),
            "energy_removed": ("edit", np.nanmean(removed, axis=(1, 2))),
            "energy_moved": ("edit", np.nanmean(moved, axis=(1, 2))),
        }
    )


def _with_intervals(result: xr.Dataset, scorers: Mapping[str, Metric], resamples: int) -> xr.Dataset:
    # Draws are averaged first: the interval is that of the mean over draws, for these prompts.
    effect = result["effect"].mean("draw")
    interval = interval_over(effect, cluster="prompt", resamples=resamples)
    result = result.assign({name: interval[name] for name in ("mean", "low", "high")})
    first = effect.isel(edit=0, drop=True)
    contrasts = [
        paired_difference(first, effect.isel(edit=row, drop=True), cluster="prompt", resamples=resamples)
        for row in range(effect.sizes["edit"])
    ]
    contrast = xr.concat(contrasts, dim="edit").assign_coords(edit=result["edit"])
    contrast = contrast.transpose("metric", "edit", ...)
    return result.assign({f"contrast_{name}": contrast[name] for name in ("mean", "low", "high")})
