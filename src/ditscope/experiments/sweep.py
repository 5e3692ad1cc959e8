"""``sweep``: the same prompts and seeds under the edits of every cell of a grid, scored, paired, with intervals."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope._version import __version__, commit
from ditscope.errors import EditError, InputError
from ditscope.experiments import sweep_store
from ditscope.experiments.grid import Grid
from ditscope.experiments.kept import Kept, thumbnail_size
from ditscope.experiments.matches import matched_to
from ditscope.experiments.outline import IMAGES, Images, Outline
from ditscope.experiments.running import Runs
from ditscope.experiments.scoring import assemble
from ditscope.experiments.set_scoring import with_sets
from ditscope.experiments.together import require_apart
from ditscope.intervals import LEVEL, check_interval
from ditscope.metrics._identity import identity, metric_code
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import Metric, resolve
from ditscope.models.embedded import EMBEDDED, is_embedded
from ditscope.tracing.batches import batches_of
from ditscope.tracing.probe import probe
from ditscope.tracing.prompt_embeds import Prompt
from ditscope.tracing.replay import MEMORY_BUDGET
from ditscope.tracing.run import LATENT, check_call, warn_of_truncated
from ditscope.tracing.samples import filled_call
from ditscope.tracing.seeds import Seed, written_generators
from ditscope.tracing.unchanged import model_state
from ditscope.tracing.written_call import written_call, written_embeddings

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.tracing.probe import Probe

MOST_IN_MEMORY = 2 * 2**30
"""Most bytes of images that a sweep without a path keeps."""


def sweep(
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed],
    grid: Grid,
    metrics: Iterable[str | Metric] = ("clip_score", "psnr", "ssim", "high_frequency_energy"),
    path: str | os.PathLike[str] | None = None,
    *,
    clip: ClipScorer | str | None = None,
    batch_size: int = 1,
    images: Images = "keep",
    resamples: int = 2000,
    memory_budget: int = MEMORY_BUDGET,
    edits_per_forward: int = 1,
    **call: Any,
) -> xr.Dataset:
    """Generate every sample without edits, and under each edit or guidance of each cell of a grid, and score the
    difference.

    What an edited run shares with the unedited one is not computed again: the steps before the first edited one, and in
    that one the blocks before the edit (:mod:`ditscope.tracing.replay`). It is the same as the whole run, on a CPU bit
    for bit. Where all metrics are of latents (those whose function takes ``latents``), runs end after the last edited
    step and nothing is decoded.

    Args:
        dit: the model.
        prompts: as of :func:`ditscope.experiments.compare.compare`.
        seeds: likewise.
        grid: of :func:`ditscope.experiments.grid.grid`.
        metrics: names of :data:`ditscope.metrics.METRICS`, or Metric objects. Those of latents get the latents after
            the last step that the edits reach.
        path: folder of a store, in which every finished run is at once: called again after it was broken off, it goes
            on. None for a sweep in memory.
        clip: the scorer for metrics that need one; the embedded pipeline brings its own.
        batch_size: images generated together.
        images: ``keep``, ``drop``, or ``thumbnails`` of at most 128 pixels along an edge; metrics judge the images.
        resamples: bootstrap draws of the intervals.
        memory_budget: most bytes for what is recorded of the unedited run, on the model's device.
        edits_per_forward: edits that are made in one forward pass, each on its own copy of the batch. More than one
            fills a device that a batch leaves idle, and moves the last bits of all numbers, as another batch size does.
            On one core of a CPU there is little to fill: the embedded pipeline takes 0.88 of the time with 2 and 0.91
            with 4, and a cell's mean difference of images moves by up to 7e-4 of itself (``benchmarks/sweep.py --only
            together``, 25 cells).
        **call: pipeline arguments, as of compare.

    Returns:
        Dataset as of compare, with the grid's dimensions before ``edit``. Its images are read from the store as they
        are asked for. ``attrs["replay"]`` says what was shared, and why not all that could be.

        The model's weights and live state are compared with what they were after each batch, meanwhile once the runs
        since the last time took 50 times as long as that, and where an error or an interrupt ends the sweep. Runs that
        were made since the last time are dropped where the model has changed; a process that was killed could not
        compare, and they are made again when the sweep goes on.

    Raises:
        InputError: before the first run, for anything that cannot be used.
        ConfigMismatchError: the path has another sweep, by the fields that differ, among them the code of a metric of
            one's own and the weights of models that judge; or the model was changed on the way.
        CacheError: the path has something else.
        EditError: before the first run, an edit that can never fire; after the last, where no edit fired at all.

    Warns:
        UserWarning: prompts were cut in every text encoder; an edit fired nowhere in some samples, as of compare; or
            the store was begun with another version of ditscope.

    Examples:
        >>> def zeroed(block):
        ...     return {"massive": ds.edits.zero(massive, blocks=block)}
        >>> grid = ds.grid(zeroed, block=["double.0", "single.1"])
        >>> result = ds.sweep(dit, prompts[:2], 0, grid, ["psnr"], "sweep", batch_size=2, num_inference_steps=2)
        >>> result["mean"].dims
        ('metric', 'block', 'edit')
    """
    if not isinstance(grid, Grid):
        raise InputError(
            f"a grid of type {type(grid).__name__}",
            "what ds.grid returns",
            "Pass ds.grid(lambda block: {...}, ...).",
        )
    result = run_sweep(
        "sweep",
        dit,
        prompts,
        seeds,
        grid,
        metrics,
        path,
        clip=clip,
        batch_size=batch_size,
        images=images,
        resamples=resamples,
        memory_budget=memory_budget,
        edits_per_forward=edits_per_forward,
        **call,
    )
    warn_of_truncated(result["prompt"].values[result["truncated"].values])
    return result


def open_sweep(path: str | os.PathLike[str], *, resamples: int = 2000) -> xr.Dataset:
    """The result of a sweep, or of a comparison, that has a path, as far as it has come.

    Args:
        path: the store.
        resamples: bootstrap draws of the intervals.

    Returns:
        As of :func:`sweep`, with runs whose model was not compared yet; NaN where a run is missing, and for metrics
        over a set, whose numbers are made of the images at the end of the sweep and not kept. Images are read as they
        are asked for.

    Raises:
        CacheError: there is none at the path, or it is damaged.

    Examples:
        >>> edit = ds.edits.zero(massive, blocks="single.1")
        >>> result = ds.compare(dit, prompts[0], 0, edit, ["psnr"], path="run", num_inference_steps=2)
        >>> ds.open_sweep("run")["mean"].equals(result["mean"])
        True
    """
    check_interval(LEVEL, resamples)
    return _result(sweep_store.read(path), resamples)


def run_sweep(
    title: str,
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed],
    grid: Grid,
    metrics: Iterable[str | Metric],
    path: str | os.PathLike[str] | None,
    *,
    clip: ClipScorer | str | None,
    batch_size: int,
    images: str,
    resamples: int,
    memory_budget: int,
    edits_per_forward: int,
    **call: Any,
) -> xr.Dataset:
    """A sweep under a title, which the progress bar has; see :func:`sweep`."""
    check_interval(LEVEL, resamples)
    checks.name_of("images", images, IMAGES)
    checks.whole_number("memory_budget", memory_budget, 0)
    checks.whole_number("edits_per_forward", edits_per_forward)
    check_call(dit, call)
    batches = batches_of(prompts, seeds, batch_size, call)
    samples = [sample for batch in batches for sample in batch.samples]
    embeddings = written_embeddings(list(dict.fromkeys(prompt for prompt, _ in samples)))
    generators = written_generators(dit.diffusers_pipeline, seeds)
    if clip is None and is_embedded(dit.repo_id):
        clip = EMBEDDED
    scorers = resolve(metrics, clip=clip)
    _require_scorable(scorers, call, bool(embeddings), samples, images)
    config: dict[str, Any] = {
        "call": written_call(filled_call(dit, samples[0][0], call)),
        **({"embeddings": embeddings} if embeddings else {}),
        **({"generators": generators} if generators else {}),
    }
    model = model_state(dit)
    looked = probe(dit, batches[0].samples, **batches[0].call)
    for cell in grid.cells:
        for condition in cell:
            if edits_per_forward > 1:
                require_apart(condition)
            condition.check(dit, looked, [batch.samples for batch in batches])
    attrs = {
        "model": dit.name,
        "batch_size": batch_size,
        "num_inference_steps": looked.schedule.steps.stop,
        **{name: str(value) for name, value in config.items()},
        "weights_fingerprint": model["weights_fingerprint"],
        "live": json.dumps(model["live"]),
        "ditscope": __version__,
        **({"ditscope_commit": commit()} if commit() else {}),
    }
    outline = _outline(grid, scorers, samples, batch_size, images, looked, attrs)
    judges: dict[str, Any] = {}
    if path is None:
        _require_room(outline)
        holding: Any = contextlib.nullcontext(Kept(outline))
    else:
        judges = identity(list(scorers.values()), outline.prompts)
        config |= {"edits_per_forward": edits_per_forward, **judges, **model}
        edits = [[condition.to_json() for condition in column] for column in zip(*grid.cells, strict=True)]
        holding = sweep_store.opened(path, outline, config, dict(zip(grid.edits, edits, strict=True)))
    with holding as kept:
        shared = Runs(title, dit, batches, grid, scorers, looked, memory_budget, edits_per_forward).make(
            kept, model
        )
        result = _result(kept, resamples).assign_attrs(replay=shared)
        _check_fired(grid, samples, result)
        if judges:
            _check_metrics(judges["metric_code"], scorers)
        return with_sets(result, scorers, outline)


def _check_fired(grid: Grid, samples: Sequence[tuple[Prompt, int]], result: xr.Dataset) -> None:
    """Warn of edits that did not fire in samples that they do not leave alone; refuse a result in which none did.

    What is there of others stays: only the run could tell.
    """
    dims = [*grid.dims, "edit", "draw", "sample"]
    fired = result["fired_by_sample"].transpose(*dims).values > 0
    if not fired.any():
        raise EditError(
            f"edits {' and '.join(map(repr, grid.edits))} that fired on no token of any sample",
            "at least one token in one of them",
            "Pass other masks or channels.",
        )
    fired = fired.reshape(len(grid.cells), *fired.shape[-3:])
    for position, name in enumerate(grid.edits):
        missed, everywhere = np.zeros(len(samples), bool), True
        for cell, conditions in enumerate(grid.cells):
            condition = conditions[position]
            own = fired[cell, position, : condition.draws]
            named = [any(edit.acts_on(sample) for edit in condition.edits) for sample in samples]
            missed |= np.array(named) & ~own.all(axis=0)
            everywhere &= bool(own.any(axis=1).all())
        where = np.flatnonzero(missed).tolist()
        if where:
            listed = ", ".join(map(str, where[:12])) + ", ..." * (len(where) > 12)
            nowhere = "" if everywhere else " In a cell or a draw they fired in no sample at all."
            warnings.warn(
                f"edits {name!r} fired on no token of {len(where)} of {len(samples)} samples ({listed}), whose masks "
                f"or channels are empty: they are left out of its effects and intervals.{nowhere} See fired_by_sample.",
                stacklevel=4,
            )


def _check_metrics(before: Mapping[str, str], scorers: Mapping[str, Metric]) -> None:
    """Warn of a metric that is another one after its use, where its code did not show that it would be."""
    after = metric_code(scorers.values())
    if changed := [name for name in before if after[name] != before[name]]:
        warnings.warn(
            f"{', '.join(changed)}: another metric after its use than before, since it remembers something where its "
            "code does not show it. A sweep that goes on may find the store to be of another metric. Keep what it "
            "remembers by functools.cache, or in a variable that its own code writes into, with made_of=.",
            stacklevel=4,
        )


def _result(kept: Kept, resamples: int) -> xr.Dataset:
    outline = kept.outline
    cut = np.zeros(len(outline.prompts), bool)
    for batch, each in kept.truncated.items():
        cut[outline.positions(batch)] = each
    result = assemble(outline, kept.baselines, kept.runs, kept.images(), resamples)
    n_missing = sum(len(kept.missing(batch)) for batch in range(outline.n_batches))
    attrs = {**outline.attrs, **({"missing_runs": n_missing} if n_missing else {})}
    return result.assign_coords(truncated=("sample", cut)).assign_attrs(attrs)


def _outline(
    grid: Grid,
    scorers: Mapping[str, Metric],
    samples: Sequence[tuple[Prompt, int]],
    batch_size: int,
    images: str,
    probe: Probe,
    attrs: Mapping[str, Any],
) -> Outline:
    size: tuple[int, int] | None = probe.image_size
    if images == "drop" or not any(metric.of_images for metric in scorers.values()):
        size = None
    elif images == "thumbnails":
        size = thumbnail_size(*probe.image_size)
    return Outline(
        dims=dict(grid.dims),
        edits=list(grid.edits),
        draws=[[condition.draws for condition in cell] for cell in grid.cells],
        control=[all(edit.control for edit in column) for column in zip(*grid.cells, strict=True)],
        matched_to=[matched_to(condition) for condition in grid.cells[0]],
        metrics=[_about(metric) for metric in scorers.values()],
        prompts=[str(prompt) for prompt, _ in samples],
        seeds=[int(seed) for _, seed in samples],
        batch_size=min(batch_size, len(samples)),
        images=images,
        image_size=size,
        attrs=dict(attrs),
    )


def _about(metric: Metric) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "made_of": metric.made_of,
        "unit": metric.unit,
        "paired": metric.paired,
        "over": metric.over,
        "binary": metric.binary,
        "label": metric.label if metric.paired else f"change in {metric.label}",
        "damage": metric.damage,
        "direction": metric.better,
    }


def _require_scorable(
    scorers: Mapping[str, Metric],
    call: Mapping[str, Any],
    embedded: bool,
    samples: Sequence[tuple[Prompt, int]],
    images: str,
) -> None:
    judging = [name for name, metric in scorers.items() if "prompts" in metric.needs]
    if embedded and judging:
        raise InputError(
            f"{', '.join(judging)} of samples whose prompts are embeddings",
            "metrics that need no text",
            "Leave it out, with metrics=['psnr'], say.",
        )
    if call.get("output_type") == LATENT:
        raise InputError(f"output_type={LATENT!r}", "images, which metrics score", "Leave output_type out.")
    of_sets = [name for name, metric in scorers.items() if metric.over == "set"]
    if of_sets and images != "keep":
        raise InputError(
            f"images={images!r} with {', '.join(of_sets)}",
            "images='keep': numbers of sets are made of all images at the end",
            "Keep the images, or leave these metrics out.",
        )
    for metric in scorers.values():
        metric.require_enough(len(samples))
        metric.open([str(prompt) for prompt, _ in samples])


def _require_room(outline: Outline) -> None:
    if outline.image_size is None or not outline.dims:
        return
    n_runs = 1 + len(outline.draws) * len(outline.edits) * outline.most_draws
    nbytes = n_runs * len(outline.prompts) * outline.image_size[0] * outline.image_size[1] * 3
    if nbytes > MOST_IN_MEMORY:
        raise InputError(
            f"{n_runs * len(outline.prompts):,} images of {nbytes / 2**30:.1f} GiB to keep in memory",
            f"at most {MOST_IN_MEMORY / 2**30:.0f} GiB",
            "Pass path=, or images='thumbnails' or 'drop'.",
        )
