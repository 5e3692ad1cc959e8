"""``record``: a context in which a model's runs are written into a cache.

The run decides what is true: the schema is filled from a probe of the very call, and every hidden
state is written at the visit in which it was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tqdm.auto import tqdm

from ditscope import checks
from ditscope.cache.layout import Forecast, forecast
from ditscope.cache.manifest import build_manifest
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.schema import SampleSpec, Schema
from ditscope.cache.store_opening import read_manifest
from ditscope.cache.writer import CacheWriter
from ditscope.checks import Address, several
from ditscope.errors import CacheError, InputError, not_copied
from ditscope.models.fingerprint import weights_fingerprint
from ditscope.models.live_state import live_digest, live_state
from ditscope.paths import local_path
from ditscope.recording.recorded_visit import RecordedVisit
from ditscope.recording.selection import Selection
from ditscope.tracing.batches import Batch, batches_of
from ditscope.tracing.probe import Probe, longest_text, probe_once
from ditscope.tracing.prompt_embeds import Prompt, prompts_of
from ditscope.tracing.run import LATENT, check_call, run_traced, warn_of_truncated
from ditscope.tracing.samples import filled_call
from ditscope.tracing.unchanged import require_unchanged
from ditscope.tracing.written_call import written_call, written_embeddings

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


Prompts = Prompt | Sequence[Prompt]


def record(
    dit: DiT,
    path: str | os.PathLike[str],
    *,
    streams: Iterable[str] = ("image",),
    sites: Iterable[str] = ("block_output",),
    blocks: Address | Iterable[Address] | None = None,
    steps: Iterable[int] | None = None,
    branches: Iterable[str] | None = None,
    channels: Iterable[int] | None = None,
    tensors: bool = True,
    stats: bool = True,
    batch_size: int = 1,
    compression: str | None = None,
    memory_budget: int | None = None,
) -> Recording:
    """Open a recording, to be used as a context manager::

        with ds.record(dit, "shapes.zarr", streams=["image"]) as rec:
            print(rec.forecast(prompts, seeds=range(4), num_inference_steps=20))
            rec.generate(prompts, seeds=range(4), num_inference_steps=20)

    Args:
        dit: the model.
        path: the store: absent, an empty folder, or a cache of the same configuration to be resumed.
        streams: ``image``, ``text`` or both.
        sites: ``block_input``, ``attn_output``, ``mlp_output``, ``block_output``, and modulation (``attn_shift``,
            ``attn_scale``, ``attn_gate``, ``mlp_shift``, ``mlp_scale``, ``mlp_gate``); those that the blocks have.
        blocks: indices, negative ones counting from the last, names (``single.5``) or kinds (``single``) of
            blocks; all by default.
        steps: step indices, negative ones counting from the last; all by default.
        branches: ``cond``, ``uncond``; all that the call visits by default.
        channels: channel ids; all by default.
        tensors: keep hidden states ``[sample, step, branch, block, token, channel]`` in the model's dtype.
        stats: keep statistics over tokens ``[sample, step, branch, block, channel]`` in float32. Modulation has
            no tokens: its values ``[sample, step, branch, block, channel]`` are kept in float32 in any case.
        batch_size: images generated together; kept in the manifest, since numbers depend on it in the
            last bits.
        compression: None, or ``zstd``.
        memory_budget: bytes that buffers on their way to disk may take.

    Raises:
        InputError: something that the model does not have, or that makes no recording.
        UnsupportedError: a site or stream that a selected block lacks.
        CacheError: the path exists and is not a cache.
    """
    selection = Selection.of(
        dit, streams=streams, sites=sites, blocks=blocks, steps=steps, branches=branches, channels=channels
    )
    if not (tensors or stats):
        raise InputError("tensors=False and stats=False", "at least one", "Keep one of them.")
    checks.whole_number("batch_size", batch_size)
    if not isinstance(memory_budget, int | None):
        raise InputError(f"memory_budget {memory_budget!r}", "bytes as a whole number", "Leave it out, say.")
    target = local_path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        read_manifest(target)
    kept = {"tensors": tensors, "stats": stats, "batch_size": batch_size, "compression": compression}
    return Recording(dit, target, selection, memory_budget, kept)


class Recording:
    """An open recording; see :func:`record`."""

    def __init__(
        self, dit: DiT, path: Path, selection: Selection, memory_budget: int | None, kept: Mapping[str, Any]
    ) -> None:
        self._dit, self._path, self._selection = dit, path, selection
        self._memory_budget, self._kept = memory_budget, kept
        self._open = False

    def __enter__(self) -> Self:
        self._open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._open = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise not_copied(
            "an open recording", "Pass its path; the cache that generate returns can be pickled."
        )

    def forecast(self, prompts: Prompts, seeds: int | Sequence[int] = 0, **call: Any) -> Forecast:
        """Bytes, files and time of a recording, from a probe of the call. Nothing is written.

        Args:
            prompts: one or more prompts, as of :meth:`generate`.
            seeds: one or more seeds; every prompt is run with every seed.
            **call: pipeline arguments, as of :meth:`generate`.

        Raises:
            InputError: an empty prompt, or an argument that the pipeline does not have.
            UnsupportedError: as of :meth:`generate`.
            VisitError: as of :meth:`generate`.
        """
        plan = self._plan(prompts, seeds, call)
        seconds = plan.probed.seconds_per_visit * len(plan.probed.schedule) * len(plan.batches)
        return replace(forecast(self._schema(plan)), seconds=seconds)

    def generate(self, prompts: Prompts, seeds: int | Sequence[int] = 0, **call: Any) -> Cache:
        """Generate every prompt with every seed, and record; samples that are in the store are skipped.

        Args:
            prompts: one or more texts, or one or more ``ds.PromptEmbeds``, by whose labels samples are called.
            seeds: one or more seeds. Samples are prompts x seeds, prompt-major.
            **call: pipeline arguments, the same for all samples. Texts such as ``negative_prompt`` may be lists, and
                tensors such as ``latents`` have rows, one for each prompt or for each sample. The manifest keeps
                texts and numbers, digests of tensors and images, and name and digest of a callback, which may change
                latents and embeddings, but neither batch nor guidance. ``output_type="latent"`` keeps no images.
                ``prompt``, ``generator``, ``seed``, ``num_images_per_prompt`` and ``return_dict`` are ditscope's.

        Returns:
            The cache, opened.

        Raises:
            InputError: an empty prompt, an unknown argument, step or branch, a tensor whose rows fit neither prompts
                nor samples; before anything is written.
            ConfigMismatchError: the store there is of another configuration, or the model was changed since the
                recording began; the message names the fields.
            CacheError: the recording is not open, or the disk is too small for the forecast.
            UnsupportedError: the pipeline is in a state that breaks the mapping from visits to steps, such as step
                caching or replaced blocks.
            VisitError: the run makes other visits than its family describes, or is interrupted by a callback.

        Warns:
            UserWarning: prompts were cut in every text encoder.
        """
        if not self._open:
            raise CacheError(
                "a recording that is not open",
                "use inside its with block",
                "Write `with ds.record(...) as rec:`.",
            )
        plan = self._plan(prompts, seeds, call)
        schema, digest = self._schema(plan), live_digest(plan.live)
        manifest = build_manifest(schema, self._config(plan), {"device": str(self._dit.device)})
        with CacheWriter.create_or_resume(
            self._path, schema, manifest, memory_budget=self._memory_budget
        ) as writer:
            progress = tqdm(total=len(plan.samples), desc="record", unit="image", disable=None)
            progress.update(len(writer.committed))
            for batch in plan.batches:
                missing = [sample for sample in batch.positions if sample not in writer.committed]
                if missing:
                    self._record_batch(writer, batch, plan.live, digest)
                    progress.update(len(missing))
            progress.close()
        cache = open_cache(self._path)
        texts = {sample: entry.text for sample, entry in cache.ledger.items()}
        warn_of_truncated(schema.samples[at].prompt for at, text in texts.items() if text and text.truncated)
        return cache

    def _record_batch(self, writer: CacheWriter, batch: Batch, live: Mapping[str, Any], digest: str) -> None:
        visitor = RecordedVisit(self._dit, writer, batch.positions)
        outcome = run_traced(self._dit, batch.samples, visitor, keep_latents=True, **batch.call)
        require_unchanged(self._dit, live)
        for row, sample in enumerate(batch.positions):
            if sample in writer.committed:
                continue
            latents, output = outcome.latents[row], visitor.outputs[row]
            writer.put_trajectory(sample, latents=latents, transformer_output=output)
            if outcome.images.size:
                writer.put_image(sample, outcome.images[row])
            writer.commit(sample, outcome.texts[row], live=digest)

    def _plan(self, prompts: Any, seeds: Any, call: dict[str, Any]) -> _Plan:
        texts = prompts_of(prompts)
        check_call(self._dit, call)
        live = live_state(self._dit)
        written = {"call": written_call(filled_call(self._dit, texts[0], call))}
        if embeddings := written_embeddings(texts):
            written["embeddings"] = embeddings
        batches = batches_of(texts, seeds, self._kept["batch_size"], call)
        probed = probe_once(self._dit, batches[0].samples, live, **batches[0].call)
        if self._dit.family.text_length_varies and "text" in self._selection.streams:
            negative = several(call.get("negative_prompt") or ())
            longest = max(probed.tokens["text"], longest_text(self._dit, [*texts, *negative], call))
            probed = replace(probed, tokens={**probed.tokens, "text": longest})
        return _Plan(batches, written, probed, live)

    def _schema(self, plan: _Plan) -> Schema:
        probed = plan.probed
        return self._selection.schema(
            self._dit,
            probed.schedule,
            tokens=probed.tokens,
            grid=probed.grid,
            latent_channels=probed.latent_channels,
            image_size=None if probed.call.get("output_type") == LATENT else probed.image_size,
            dtype=str(probed.dtype).removeprefix("torch."),
            samples=tuple(SampleSpec(str(prompt), seed) for prompt, seed in plan.samples),
            **self._kept,
        )

    def _config(self, plan: _Plan) -> dict[str, Any]:
        return {
            "model": self._dit.name,
            "revision": self._dit.revision,
            "family": self._dit.family.name,
            "weights_fingerprint": weights_fingerprint(self._dit),
            **plan.written,
            "live": plan.live,
        }


@dataclass(frozen=True)
class _Plan:
    """What is generated: batches; the call and the embeddings of prompts as written down; its probe; the live state."""

    batches: list[Batch]
    written: dict[str, Any]
    probed: Probe
    live: dict[str, Any]

    @property
    def samples(self) -> list[tuple[Prompt, int]]:
        """(prompt, seed) of every sample."""
        return [sample for batch in self.batches for sample in batch.samples]
