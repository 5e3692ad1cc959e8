"""``compare``: the same prompts and seeds with and without each edit, scored, paired, with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr
from tqdm.auto import tqdm

from ditscope.edits.edit import Edit
from ditscope.errors import InputError
from ditscope.experiments.running import Run, conditions, run_condition
from ditscope.experiments.scoring import score
from ditscope.intervals import LEVEL, check_interval
from ditscope.metrics.metric import Metric, resolve
from ditscope.models.embedded import embedded_folder, is_embedded
from ditscope.tracing.batches import batches_of
from ditscope.tracing.probe import probe
from ditscope.tracing.prompt_embeds import Prompt
from ditscope.tracing.run import LATENT, check_call, warn_of_truncated
from ditscope.tracing.samples import filled_call
from ditscope.tracing.seeds import Seed, written_generators
from ditscope.tracing.unchanged import model_state, require_unchanged
from ditscope.tracing.written_call import written_call, written_embeddings

if TYPE_CHECKING:
    from ditscope.metrics.clip_scorer import ClipScorer
    from ditscope.models.dit import DiT


def compare(
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed] = 0,
    edits: Mapping[str, Edit | Sequence[Edit]] | None = None,
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
        prompts: one or more texts, or one or more ``ds.PromptEmbeds``, by whose labels samples are called.
        seeds: one or more seeds or generators, as of :meth:`ditscope.recording.record.Recording.generate`; samples are
            prompts x seeds, prompt-major.
        edits: name -> edit, or several edits applied together; at least one. The first is what the others are
            compared with. An edit of random channels with several draws is run once a draw.
        metrics: names of :data:`ditscope.metrics.METRICS`, or Metric objects.
        clip: the scorer for metrics that need one; the embedded pipeline brings its own.
        batch_size: images generated together.
        resamples: bootstrap draws of the intervals.
        **call: pipeline arguments, the same for all runs; texts, tensors and callbacks as of
            :meth:`ditscope.recording.record.Recording.generate`, but with images.

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
        * ``images`` ``[edit, draw, sample, y_pixel, x_pixel, rgb]`` and ``baseline_images``, uint8;

        and the coordinates ``control`` ``[edit]``, bool: whether every edit under that name is a control; and
        ``truncated`` ``[sample]``, bool: whether the prompt was cut in every text encoder. Its attribute
        ``live`` is the model's live state, as JSON, beside ``weights_fingerprint``.

    Raises:
        InputError: before the first run, for anything that cannot be used, such as a metric that judges by a text
            where there are embeddings.
        EditError: an edit that never fired.
        ConfigMismatchError: the model was changed on the way; the message names the fields.

    Warns:
        UserWarning: prompts were cut in every text encoder.
    """
    check_interval(LEVEL, resamples)
    check_call(dit, call)
    batches = batches_of(prompts, seeds, batch_size, call)
    samples = [sample for batch in batches for sample in batch.samples]
    written = written_call(filled_call(dit, samples[0][0], call))
    embeddings = written_embeddings(list(dict.fromkeys(prompt for prompt, _ in samples)))
    generators = written_generators(dit.diffusers_pipeline, seeds)
    compared = conditions(edits)
    if clip is None and is_embedded(dit.repo_id):
        clip = str(embedded_folder() / "clip")
    scorers = resolve(metrics, clip=clip)
    _require_scorable(scorers, call, bool(embeddings))
    model = model_state(dit)
    looked = probe(dit, batches[0].samples, **batches[0].call)
    for condition in compared:
        condition.check(dit, looked, samples)

    def run(edits: Sequence[Edit]) -> Run:
        made = run_condition(dit, batches, edits, looked, progress)
        require_unchanged(dit, model)
        return made

    n_runs = 1 + sum(condition.draws for condition in compared)
    with tqdm(total=len(samples) * n_runs, desc="compare", unit="image", disable=None) as progress:
        baseline = run(())
        cut = [text is not None and text.truncated for text in baseline.texts]
        warn_of_truncated(str(prompt) for (prompt, _), is_cut in zip(samples, cut, strict=True) if is_cut)
        runs = {
            (row, number): run(condition.draw(number))
            for row, condition in enumerate(compared)
            for number in range(condition.draws)
        }
    result = score(samples, compared, baseline.images, runs, scorers, resamples)
    return result.assign_coords(truncated=("sample", cut)).assign_attrs(
        model=dit.name,
        batch_size=batch_size,
        num_inference_steps=looked.schedule.steps.stop,
        call=str(written),
        **({"embeddings": str(embeddings)} if embeddings else {}),
        **({"generators": str(generators)} if generators else {}),
        weights_fingerprint=model["weights_fingerprint"],
        live=json.dumps(model["live"]),
    )


def _require_scorable(scorers: Mapping[str, Metric], call: Mapping[str, Any], embedded: bool) -> None:
    judging = [name for name, metric in scorers.items() if "prompts" in metric.needs]
    if embedded and judging:
        raise InputError(
            f"{', '.join(judging)} of samples whose prompts are embeddings",
            "metrics that need no text",
            "Leave it out, with metrics=['psnr'], say.",
        )
    if call.get("output_type") == LATENT:
        raise InputError(f"output_type={LATENT!r}", "images, which metrics score", "Leave output_type out.")
