"""``compare``: the same prompts and seeds with and without each edit, scored, paired, with intervals."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from ditscope.experiments.conditions import Given
from ditscope.experiments.grid import single_cell
from ditscope.experiments.sweep import run_sweep
from ditscope.metrics.metric import Metric
from ditscope.tracing.prompt_embeds import Prompt
from ditscope.tracing.replay import MEMORY_BUDGET
from ditscope.tracing.run import warn_of_truncated
from ditscope.tracing.seeds import Seed

if TYPE_CHECKING:
    from ditscope.metrics.clip_scorer import ClipScorer
    from ditscope.models.dit import DiT


def compare(
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed] = 0,
    edits: Given | Mapping[str, Given] | None = None,
    metrics: Iterable[str | Metric] = ("clip_score", "psnr", "ssim", "high_frequency_energy"),
    *,
    path: str | os.PathLike[str] | None = None,
    clip: ClipScorer | str | None = None,
    batch_size: int = 1,
    resamples: int = 2000,
    **call: Any,
) -> xr.Dataset:
    """Generate every sample without edits and under each edit, and score the difference.

    Baseline and edited image share prompt, seed, batch and call, so the only difference is the edit. It is a sweep
    (:func:`ditscope.experiments.sweep.sweep`) of one cell.

    Args:
        dit: the model.
        prompts: one or more texts, or one or more ``ds.PromptEmbeds``, by whose labels samples are called.
        seeds: one or more seeds or generators, as of :meth:`ditscope.recording.record.Recording.generate`; samples are
            prompts x seeds, prompt-major.
        edits: name -> edit, several edits applied together, or a guidance (:mod:`ditscope.guidance`), whose firings and
            energies are those of its degraded branch; at least one, or one of them by itself. The first is what
            the others are compared with. An edit of random channels with several draws is run once a draw.
        metrics: names of :data:`ditscope.metrics.METRICS`, or Metric objects.
        path: folder of a store, in which every finished run is at once, and with which a comparison that was broken off
            goes on; :func:`ditscope.experiments.sweep.open_sweep` opens it. None for a comparison in memory.
        clip: the scorer for metrics that need one; the embedded pipeline brings its own.
        batch_size: images generated together.
        resamples: bootstrap draws of the intervals.
        **call: pipeline arguments, the same for all runs; texts, tensors and callbacks as of
            :meth:`ditscope.recording.record.Recording.generate`, but with images.

    Returns:
        Dataset with, per ``metric``, ``edit``, ``draw`` and ``sample``:

        * ``value``: the edited image's score; ``effect``: edited minus baseline for metrics that judge
          one image, the score itself for metrics that compare with the baseline image; NaN for metrics over a set,
          which have one number for a whole edit, ``mean``; NaN too for a sample in which no edit acted on a
          token, since its own mask is empty or :class:`~ditscope.edits.lock_step.LockStep` leaves it alone: means and
          intervals are of the others;
        * ``baseline_value`` ``[metric, sample]``: the baseline image's own score (NaN for comparing metrics);
        * ``mean``, ``low``, ``high`` ``[metric, edit]``: the effect with a bootstrap interval over prompts, 95 %;
        * ``contrast_mean``, ``contrast_low``, ``contrast_high``: the first edit's effect minus this one's,
          paired by sample: what the first edit is to be told from the others, and from controls, by;
        * ``simultaneous_low``, ``simultaneous_high``, ``contrast_simultaneous_low``,
          ``contrast_simultaneous_high``: the same for several edits at once. Of intervals for each edit by itself one
          in twenty misses, so with many edits some will; these hold for all edits of one metric together, in 95 % of
          studies. That is the rule for saying that any of several edits did something, or that the first differs from
          any of the others. Metrics are not corrected for: name the one that decides before the run. How both kinds are
          made, and how well they cover with few prompts: :func:`ditscope.intervals.bootstrap_mean`;
        * ``n_samples`` ``[metric, edit]``: of how many samples ``mean`` is. A metric over a set is of those in which
          the edit fired in every draw, with the baselines of the same; its contrast is of those in which both did.
          Such numbers depend on how many images they are of: tell edits with other ``n_samples`` apart by the contrast;
        * ``fired_by_sample``: firings in each sample; ``fired`` ``[edit, draw]``: their mean over the samples in which
          there were any; ``energy_removed``: share of the edited stream's
          energy that was removed where the edit fired; ``energy_moved``: the same for the squared change;
        * ``match_ratio`` ``[edit, draw, sample]``: of controls whose channels match others, what they reached over what
          was wanted: in the run, or on the recording that frozen channels were matched on, there the mean over the
          blocks and steps in which the edit fired; NaN for all others, and for a guidance that is scaled to the norm of
          another, which it reaches;
        * ``images`` ``[edit, draw, sample, y_pixel, x_pixel, rgb]`` and ``baseline_images``, uint8;

        and the coordinates ``control`` ``[edit]``, bool: whether every edit under that name is a control;
        ``matched_to`` ``[edit]``: what its channels, or its guidance's norm, match of others, in words; ``over``
        ``[metric]``: whether its numbers are of an ``image`` or a ``set``; ``binary`` ``[metric]``, bool; and
        ``truncated`` ``[sample]``, bool: whether the prompt was cut in every text encoder. Its attribute ``live`` is
        the model's live state, as JSON, beside ``weights_fingerprint``.

    Raises:
        InputError: before the first run, for anything that cannot be used, such as a metric that judges by a text
            where there are embeddings.
        EditError: before the first run, an edit that can never fire; after the last, where no edit fired at all.
        ConfigMismatchError: the model was changed on the way; the message names the fields.

    Warns:
        UserWarning: prompts were cut in every text encoder; an edit fired on no token of some samples, other than
            those that a LockStep leaves alone; or it fired in too few for a metric over a set, whose numbers are NaN
            then.

    Examples:
        >>> edits = {"massive": ds.edits.zero(massive, blocks="single.1"), "random": ds.edits.zero(ranking.random(6))}
        >>> result = ds.compare(dit, prompts[:2], 0, edits, ["psnr"], batch_size=2, num_inference_steps=2)
        >>> result["contrast_mean"].dims
        ('metric', 'edit')
    """
    result = run_sweep(
        "compare",
        dit,
        prompts,
        seeds,
        single_cell(edits),
        metrics,
        path,
        clip=clip,
        batch_size=batch_size,
        images="keep",
        resamples=resamples,
        memory_budget=MEMORY_BUDGET,
        edits_per_forward=1,
        **call,
    )
    warn_of_truncated(result["prompt"].values[result["truncated"].values])
    return result
