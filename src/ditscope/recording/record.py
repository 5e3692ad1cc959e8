"""``record``: a context in which a model's runs are written into a cache.

The run decides what is true: the schema is filled from a probe of the very call, and every hidden
state is written at the visit in which it was read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import PIL.Image
from tqdm.auto import tqdm

from ditscope import checks
from ditscope.cache.layout import Forecast, forecast
from ditscope.cache.manifest import build_manifest
from ditscope.cache.opening import as_path, read_manifest
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.schema import BlockSpec, SampleSpec, Schema, StepSpec, StreamSpec, TrajectorySpec
from ditscope.cache.writer import CacheWriter
from ditscope.errors import CacheError, InputError
from ditscope.models.fingerprint import weights_fingerprint
from ditscope.recording.recorded_visit import RecordedVisit
from ditscope.recording.selection import Selection
from ditscope.tracing.probe import Probe, longest_text, probe
from ditscope.tracing.run import run_traced
from ditscope.tracing.samples import pair_samples

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def record(
    dit: DiT,
    path: str | os.PathLike[str],
    *,
    streams: Iterable[str] = ("image",),
    sites: Iterable[str] = ("block_output",),
    blocks: Iterable[int | str] | None = None,
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
    target = as_path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        read_manifest(target)
    return Recording(dit, str(target), selection, tensors, stats, batch_size, compression, memory_budget)


class RunForecast:
    """What a recording will take: bytes by kind, files, and time.

    Attributes:
        size: bytes and shards of the store.
        seconds: expected time of the runs, from the visits of the probe.
    """

    def __init__(self, size: Forecast, seconds: float) -> None:
        self.size, self.seconds = size, seconds

    @property
    def nbytes(self) -> int:
        """Bytes of the store, before compression."""
        return self.size.total

    def __repr__(self) -> str:
        minutes = self.seconds / 60
        time = f"{minutes:.0f} minutes" if minutes >= 2 else f"{self.seconds:.0f} seconds"
        return f"{self.size}, about {time}"


class Recording:
    """An open recording; see :func:`record`."""

    def __init__(
        self,
        dit: DiT,
        path: str,
        selection: Selection,
        tensors: bool,
        stats: bool,
        batch_size: int,
        compression: str | None,
        memory_budget: int | None,
    ) -> None:
        self._dit, self._path, self._selection = dit, path, selection
        self._tensors, self._stats, self._batch_size = tensors, stats, batch_size
        self._compression, self._memory_budget = compression, memory_budget
        self._open = False

    def __enter__(self) -> Self:
        self._open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._open = False

    def forecast(
        self, prompts: str | Sequence[str], seeds: int | Sequence[int] = 0, **call: Any
    ) -> RunForecast:
        """Bytes, files and time of a recording, from a probe of the call. Nothing is written.

        Args:
            prompts: one or more prompts.
            seeds: one or more seeds; every prompt is run with every seed.
            **call: pipeline arguments.

        Raises:
            InputError: an empty prompt, or an argument that the pipeline does not have.
            UnsupportedError: as of :meth:`generate`.
            VisitError: as of :meth:`generate`.
        """
        samples, probed = self._probe(prompts, seeds, call)
        batches = -(-len(samples) // self._batch_size)
        size = forecast(self._schema(samples, probed))
        return RunForecast(size, probed.seconds_per_visit * len(probed.schedule) * batches)

    def generate(self, prompts: str | Sequence[str], seeds: int | Sequence[int] = 0, **call: Any) -> Cache:
        """Generate every prompt with every seed, and record; samples that are in the store are skipped.

        Args:
            prompts: one or more prompts.
            seeds: one or more seeds. Samples are prompts x seeds, prompt-major.
            **call: pipeline arguments, the same for all samples.

        Returns:
            The cache, opened.

        Raises:
            InputError: an empty prompt, an unknown argument, step or branch; before anything is written.
            ConfigMismatchError: the store there is of another configuration; the message names the fields.
            CacheError: the recording is not open, or the disk is too small for the forecast.
            UnsupportedError: the pipeline is in a state that breaks the mapping from visits to steps, such as step
                caching or replaced blocks.
            VisitError: the run makes other visits than its family describes.
        """
        if not self._open:
            raise CacheError(
                "a recording that is not open",
                "use inside its with block",
                "Write `with ds.record(...) as rec:`.",
            )
        samples, probed = self._probe(prompts, seeds, call)
        schema = self._schema(samples, probed)
        manifest = build_manifest(schema, self._config(probed), {"device": str(self._dit.device)})
        with CacheWriter.create_or_resume(
            self._path, schema, manifest, memory_budget=self._memory_budget
        ) as writer:
            progress = tqdm(total=len(samples), desc="record", unit="image", disable=None)
            progress.update(len(writer.committed))
            for batch in _batches(len(samples), self._batch_size):
                missing = [sample for sample in batch if sample not in writer.committed]
                if missing:
                    self._record_batch(writer, schema, batch, [samples[sample] for sample in batch], call)
                    progress.update(len(missing))
            progress.close()
        return open_cache(self._path)

    def _record_batch(
        self,
        writer: CacheWriter,
        schema: Schema,
        batch: list[int],
        samples: list[tuple[str, int]],
        call: dict[str, Any],
    ) -> None:
        visitor = RecordedVisit(self._dit, self._selection, schema, writer, batch)
        outcome = run_traced(self._dit, samples, visitor, keep_latents=True, **call)
        for row, sample in enumerate(batch):
            if sample in writer.committed:
                continue
            writer.put_trajectory(sample, outcome.latents[row], visitor.outputs[row])
            writer.put_image(sample, outcome.images[row])
            writer.commit(sample)

    def _probe(self, prompts, seeds, call) -> tuple[list[tuple[str, int]], Probe]:
        samples = pair_samples(checks.prompts(prompts), checks.seeds(seeds))
        probed = probe(self._dit, samples[: self._batch_size], **call)
        if self._dit.family.text_length_varies and "text" in self._selection.streams:
            longest = longest_text(self._dit, [prompt for prompt, _ in samples], call)
            probed.tokens["text"] = max(probed.tokens["text"], longest)
        return samples, probed

    def _schema(self, samples: list[tuple[str, int]], probed: Probe) -> Schema:
        chosen, schedule = self._selection, probed.schedule
        steps = [
            StepSpec(*step) for step in zip(schedule.steps, schedule.sigmas, schedule.timesteps, strict=True)
        ]
        kept = chosen.settled_steps(schedule)
        blocks = [self._dit.blocks[index] for index in chosen.blocks]
        grids = {"image": probed.grid}
        return Schema(
            streams=tuple(
                StreamSpec(stream, probed.tokens[stream], *grids.get(stream, (None, None)))
                for stream in chosen.streams
            ),
            sites=chosen.sites,
            blocks=tuple(BlockSpec(block.index, block.name, block.kind) for block in blocks),
            steps=tuple(step for step in steps if step.index in kept),
            branches=chosen.settled_branches(schedule),
            channels=chosen.channels,
            width=probed.width,
            dtype=str(probed.dtype).removeprefix("torch."),
            samples=tuple(SampleSpec(prompt, seed) for prompt, seed in samples),
            tensors=self._tensors,
            stats=self._stats,
            trajectory=TrajectorySpec(tuple(steps), probed.latent_tokens, probed.latent_channels),
            image_height=probed.image_size[0],
            image_width=probed.image_size[1],
            batch_size=self._batch_size,
            compression=self._compression,
        )

    def _config(self, probed: Probe) -> dict[str, Any]:
        pipeline = self._dit.diffusers_pipeline
        return {
            "model": self._dit.name,
            "revision": self._dit.revision,
            "family": self._dit.family.name,
            "weights_fingerprint": weights_fingerprint(self._dit),
            "pipeline": type(pipeline).__name__,
            "scheduler": {
                "class": type(pipeline.scheduler).__name__,
                **_json_items(pipeline.scheduler.config),
            },
            "call": {name: _recordable(name, value) for name, value in probed.call.items()},
        }


def _batches(count: int, size: int) -> Iterator[list[int]]:
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))


def _recordable(name: str, value: Any) -> Any:
    """A call argument as the manifest holds it; an image as the digest of its pixels.

    Raises:
        InputError: it cannot be written down, such as a callback or a tensor.
    """
    if isinstance(value, PIL.Image.Image):
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        return {"image": digest, "mode": value.mode, "size": list(value.size)}
    plain = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"pipeline argument {name} of type {type(value).__name__}",
            "text, numbers and lists, which the manifest can hold",
            "Leave it out while recording.",
        ) from error
    return plain


def _json_items(config: Any) -> dict[str, Any]:
    plain = (str, int, float, bool, type(None))
    return {
        key: value if not isinstance(value, float) or np.isfinite(value) else str(value)
        for key, value in config.items()
        if isinstance(value, plain) and not key.startswith("_")
    }
