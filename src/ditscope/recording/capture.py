"""``capture``: what a cache would have of some samples, in memory."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ditscope import checks
from ditscope._display import text_table
from ditscope.cache import sample_ledger
from ditscope.cache.layout import plan_arrays, readable_bytes, values_path
from ditscope.cache.manifest import build_manifest
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.recorded import Recorded, statistics_of_one
from ditscope.cache.sample_ledger import Entry
from ditscope.cache.samples import SampleSpec
from ditscope.cache.schema import Schema
from ditscope.cache.shards import Buffers, Spent
from ditscope.cache.visit_reading import Address, Reading
from ditscope.cache.writer import CacheWriter
from ditscope.checks import Address as BlockAddress
from ditscope.encoded_text import EncodedText
from ditscope.errors import CacheError, InputError
from ditscope.recording.plan import plan_of
from ditscope.recording.record import Prompts
from ditscope.recording.record_batch import configuration, record_batch
from ditscope.recording.selection import Selection
from ditscope.tracing.run import warn_of_truncated
from ditscope.tracing.seeds import Seed
from ditscope.tracing.written_call import written_call

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

MEMORY_BUDGET = 512 * 2**20
"""Bytes that a capture may take."""


def capture(
    dit: DiT,
    prompts: Prompts,
    seeds: Seed | Sequence[Seed] = 0,
    *,
    streams: Iterable[str] = ("image",),
    sites: Iterable[str] = ("block_output",),
    blocks: BlockAddress | Iterable[BlockAddress] | None = None,
    steps: Iterable[int] | None = None,
    branches: Iterable[str] | None = None,
    channels: Iterable[int] | None = None,
    memory_budget: int = MEMORY_BUDGET,
    batch_size: int = 1,
    **call: Any,
) -> Capture:
    """Generate samples and keep their hidden states in memory: what :func:`ditscope.record` would put into a store.

    Args:
        dit: the model.
        prompts: one or more prompts, as of :meth:`ditscope.recording.record.Recording.generate`.
        seeds: one or more seeds or generators; samples are prompts x seeds, prompt-major.
        streams: ``image``, ``text`` or both.
        sites: as of :func:`ditscope.record`, as are ``blocks``, ``steps``, ``branches`` and ``channels``; all that
            the call visits by default.
        blocks: indices, names (``single.5``) or kinds (``single``) of blocks.
        steps: step indices, negative ones counting from the last.
        branches: ``cond``, ``uncond``.
        channels: channel ids.
        memory_budget: bytes that all arrays together may take.
        batch_size: images generated together; numbers depend on it in the last bits.
        **call: pipeline arguments, the same for all samples.

    Raises:
        InputError: before the run, where it needs more than ``memory_budget``; or as of
            :meth:`ditscope.recording.record.Recording.generate`.
        UnsupportedError: a site or stream that a selected block lacks; or a state of the pipeline that breaks the
            mapping from visits to steps.
        ConfigMismatchError: the model was changed on the way.

    Warns:
        UserWarning: prompts were cut in every text encoder.

    Examples:
        >>> source = ds.capture(dit, prompts[0], blocks="single", num_inference_steps=2)
        >>> source.hidden().dims
        ('sample', 'step', 'branch', 'block', 'token', 'channel')
    """
    selection = Selection.of(
        dit,
        streams=streams,
        sites=sites,
        blocks=blocks,
        steps=steps,
        branches=branches,
        channels=channels,
    )
    return captured(dit, selection, prompts, seeds, call, memory_budget=memory_budget, batch_size=batch_size)


def captured(
    dit: DiT,
    selection: Selection,
    prompts: Prompts,
    seeds: Seed | Sequence[Seed],
    call: dict[str, Any],
    *,
    memory_budget: int = MEMORY_BUDGET,
    batch_size: int = 1,
    image: int = 0,
    shown: Mapping[str, Any] = MappingProxyType({}),
) -> Capture:
    """What :func:`capture` returns, of the generated image or of a reference image.

    Args:
        dit: the model.
        selection: what to keep.
        prompts: as of :func:`capture`.
        seeds: as of :func:`capture`.
        call: pipeline arguments.
        memory_budget: as of :func:`capture`.
        batch_size: as of :func:`capture`.
        image: whose tokens the image stream's are: 0 for the generated image, then the reference images, of its grid.
        shown: path of an array -> values of every sample, in place of those of the generated image.
    """
    checks.whole_number("memory_budget", memory_budget, most=2**50)
    plan = plan_of(dit, selection, prompts, seeds, call, batch_size)
    specs = plan.specs({})
    schema = plan.schema(dit, stats=False, batch_size=batch_size)
    needed = captured_bytes(schema, len(specs))
    if needed > memory_budget:
        raise InputError(
            f"{readable_bytes(needed)} for a capture of {len(specs)} samples",
            f"at most memory_budget={memory_budget} bytes",
            "Name fewer blocks=, steps=, branches= or channels=, raise the budget, or record into a store.",
        )
    config = configuration(dit, written_call(plan.shared), plan.model)
    filling = _Filling(schema, specs, memory_budget - needed)
    with tqdm(total=len(specs), desc="capture", unit="image", disable=None) as progress:
        for batch in plan.batches:
            record_batch(dit, filling, batch, batch.positions, plan.model, image=image)
            progress.update(len(batch.positions))
    for path in shown.keys() & filling.arrays.keys():
        filling.arrays[path][:] = shown[path]
    made = Capture(schema, config, filling.arrays, filling.entries)
    texts = ((entry.spec.prompt, entry.text) for entry in made.ledger.values())
    warn_of_truncated(prompt for prompt, text in texts if text is not None and text.truncated)
    return made


def captured_bytes(schema: Schema, samples: int) -> int:
    """Exact bytes of the arrays of a capture."""
    return samples * sum(
        math.prod(plan.shape) * plan.numpy_dtype.itemsize for plan in plan_arrays(schema).values()
    )


class Capture(Recorded):
    """Recorded samples in memory, with the labelled arrays of a cache; made by :func:`capture`.

    ``hidden``, ``images`` and ``trajectory`` are as of :class:`ditscope.cache.reader.Cache`, and every pass takes it.
    It keeps no statistics over tokens: passes make them of the hidden states.

    Examples:
        >>> seen = ds.capture(dit, prompts[0], blocks="single.5", num_inference_steps=2)
        >>> ranking = ds.passes.rank_channels(seen)
    """

    def __init__(
        self,
        schema: Schema,
        config: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray[Any, Any]],
        entries: Mapping[int, Entry],
    ) -> None:
        self.schema, self.plans, self.ledger = schema, plan_arrays(schema), entries
        self.specs = tuple(entry.spec for _, entry in sorted(entries.items()))
        self._config, self._arrays = config, arrays
        for array in arrays.values():
            array.setflags(write=False)

    @property
    def config(self) -> Mapping[str, Any]:
        """By which model, in which state, and by which call the numbers were made."""
        return self._config

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all labels and values."""
        made_of = [self.schema.to_json(), self._config, [spec.to_json() for spec in self.specs]]
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
        for path in sorted(self._arrays):
            digest.update(self._arrays[path].view(np.uint8).data)
        return digest.hexdigest()

    def noted(self, **facts: Any) -> Capture:
        """The same samples, with further facts in :attr:`config`."""
        return Capture(self.schema, {**self._config, **facts}, self._arrays, self.ledger)

    def save(self, path: str | os.PathLike[str]) -> Cache:
        """Write the samples into a store, as :func:`ditscope.record` would have without statistics, and open it.

        Args:
            path: absent, an empty folder, or a cache of the same configuration, which gains those that it lacks.

        Raises:
            ConfigMismatchError: the store there is of another configuration; the message names the fields.
            CacheError: the path holds something else, or the disk is too small.

        Examples:
            >>> kept = ds.capture(dit, prompts[0], blocks="single.5", num_inference_steps=2).save("source.zarr")
            >>> source = ds.open_cache("source.zarr")
        """
        manifest = build_manifest(self.schema, self.config)
        with CacheWriter.create_or_resume(path, self.schema, manifest, self.specs) as writer:
            for sample, position in enumerate(writer.positions):
                if position not in writer.entries:
                    self._write(writer, sample)
        return open_cache(path)

    def _write(self, writer: CacheWriter, sample: int) -> None:
        schema, position = self.schema, writer.positions[sample]
        for site in schema.sites:
            values, padded = self._arrays[values_path(site)][sample], f"{site.stream}/token_mask"
            for at in np.ndindex(len(schema.steps), len(schema.branches), len(site.blocks)):
                step, branch, block = schema.steps[at[0]], schema.branches[at[1]], site.blocks[at[2]]
                hidden = values[at]
                if site.has_tokens and padded in self._arrays:
                    there = self._arrays[padded][sample, at[1]] | ~np.isnan(hidden).all(axis=-1)
                    hidden = hidden[: np.flatnonzero(there)[-1] + 1]
                address = Address(site.stream, site.name, step.index, branch, block)
                writer.put(Reading(address, [position], hidden[None]))
        for stream in schema.stream_names:
            if (path := f"{stream}/token_mask") in self._arrays:
                for branch, mask in zip(schema.branches, self._arrays[path][sample], strict=True):
                    writer.put_token_masks([position], stream, branch, mask[None])
            if (path := f"{stream}/token_id") in self._arrays:
                writer.put_token_ids(position, stream, self._arrays[path][sample])
        if schema.trajectory is not None:
            names = ("latents", "transformer_output")
            kept = {name: self._arrays[f"trajectory/{name}"][sample] for name in names}
            writer.put_trajectory(position, **kept)
        if "images" in self._arrays:
            writer.put_image(position, self._arrays["images"][sample])
        entry = self.ledger[sample]
        batch = [writer.positions[each] for each in entry.batch]
        writer.commit(position, entry.text, live=entry.live, batch=batch)

    def stats(self, stream: str = "image", site: str = "block_output") -> xr.Dataset:
        """Statistics of modulation, whose values are their own mean.

        Raises:
            InputError: the stream or site was not captured.
            CacheError: hidden states, of which passes make statistics themselves.
        """
        if self.schema.site(stream, site).has_tokens:
            raise CacheError("a capture, without statistics", "statistics", "Use .hidden(), as passes do.")
        return statistics_of_one(self.hidden(stream, site))

    def __repr__(self) -> str:
        rows = [("model", str(self._config.get("model"))), ("samples", str(len(self.specs)))]
        rows += [
            (site.folder, f"{site.dtype} {list(self._arrays[values_path(site)].shape)}")
            for site in self.schema.sites
        ]
        return text_table("<Capture>", [*rows, ("size", readable_bytes(self.nbytes))])

    def _stored(
        self, path: str, samples: Sequence[int], channels: Sequence[int] | None = None
    ) -> np.ndarray[Any, Any]:
        array = self._arrays[path]
        if list(samples) != list(range(len(array))):
            array = array[list(samples)]
        return array if channels is None else array[..., list(channels)]

    def _at(
        self, path: str, samples: Sequence[int], index: tuple[int, ...], channels: Sequence[int] | None
    ) -> np.ndarray[Any, Any]:
        place: Any = (list(samples), *index)
        values = self._arrays[path][place]
        return values if channels is None else values[..., list(channels)]

    def _array(
        self, path: str, samples: Sequence[int], channels: Sequence[int] | None = None
    ) -> xr.DataArray:
        return xr.DataArray(self._stored(path, samples, channels), dims=("sample", *self.plans[path].dims))


class _Filling:
    """Where a run puts what it reads; see :class:`ditscope.recording.destination.Destination`."""

    def __init__(self, schema: Schema, specs: list[SampleSpec], room: int) -> None:
        self.schema, self.samples = schema, specs
        self.buffers, self.time = Buffers(room), Spent()  # for copies from a GPU
        self.entries: dict[int, Entry] = {}
        self.arrays = {
            path: np.full((len(specs), *plan.shape), plan.fill_value, plan.numpy_dtype)
            for path, plan in plan_arrays(schema).items()
        }
        self._steps = [step.index for step in schema.steps]

    def put(self, reading: Reading) -> None:
        address = reading.address
        site = self.schema.site(address.stream, address.site)
        at = (
            self._steps.index(address.step),
            self.schema.branches.index(address.branch),
        )
        place = self.arrays[values_path(site)]
        values = reading.hidden if isinstance(address.block, tuple) else reading.hidden[None]
        for block, rows in zip(address.blocks, values, strict=True):
            for sample, own in zip(reading.samples, rows, strict=True):
                # A text may be shorter than the longest one.
                place[(sample, *at, site.blocks.index(block))][: len(own)] = own

    def put_token_masks(self, samples: Sequence[int], stream: str, branch: str, masks: Any) -> None:
        place = self.arrays[f"{stream}/token_mask"]
        for sample, mask in zip(samples, masks, strict=True):
            place[sample, self.schema.branches.index(branch), : len(mask)] = mask

    def put_token_ids(self, sample: int, stream: str, ids: Any) -> None:
        self.arrays[f"{stream}/token_id"][sample] = ids

    def put_trajectory(self, sample: int, *, latents: Any, transformer_output: Any) -> None:
        self.arrays["trajectory/latents"][sample] = latents
        self.arrays["trajectory/transformer_output"][sample] = transformer_output

    def put_image(self, sample: int, image: Any) -> None:
        self.arrays["images"][sample] = image

    def commit_together(
        self,
        texts: Mapping[int, EncodedText | None],
        *,
        live: str | None = None,
        batch: Sequence[int] = (),
        like: Mapping[int, Entry] = MappingProxyType({}),
    ) -> None:
        now = sample_ledger.now()
        for sample, text in texts.items():
            self.entries[sample] = Entry(
                sample, self.samples[sample], now, {}, text=text, live=live, batch=tuple(batch)
            )
