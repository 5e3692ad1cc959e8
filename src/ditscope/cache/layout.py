"""Which arrays a store has, how they are cut into shards and chunks, and how many bytes that makes.

One rule cuts every array. A shard never spans two samples; within a sample it spans as many blocks, then
steps, then branches as fit the byte target, in equal parts, and always all tokens and channels. So a
sample's files lie under ``<array>/c/<sample>/``, are written once, whole, and no commit touches another
sample's files. Inside a shard of hidden states the chunks hold all tokens of a few channels at one
``(step, branch, block)``, so that reading a few channels does not read the tensor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ditscope.cache.bfloat16 import DTYPE as BFLOAT16
from ditscope.cache.schema import Schema
from ditscope.vocabulary import STATISTIC_ARRAYS, VALUE_DIMS, site_spec

CHANNELS_PER_CHUNK = 32
"""Most channels in one chunk of a hidden state."""

STATS_BYTES = 4 * 2**20
"""Byte target of a chunk of statistics: small, because several are open at once while recording."""

INDEXED = ("block", "step", "step_boundary", "branch")
"""Dims that are filled one index at a time while recording, in the order in which a shard reaches along them."""

KINDS = ("tensors", "stats", "modulation", "masks", "trajectory", "images")
"""What arrays hold."""

CRC_BYTES = 4
INDEX_ENTRY_BYTES = 16


@dataclass(frozen=True)
class ArrayPlan:
    """One array of the store.

    Attributes:
        path: where it is in the store, such as ``image/block_output``.
        kind: ``tensors``, ``stats``, ``modulation``, ``masks``, ``trajectory`` or ``images``.
        dims: names of the axes; the first is always ``sample``.
        shape: lengths of the axes.
        shard: shape of one file; of a sharded array, a multiple of ``chunk``.
        chunk: shape of the smallest piece that can be read.
        dtype: name of the stored dtype.
        sharded: whether files hold several chunks and an index.
        compression: None or ``zstd``.
    """

    path: str
    kind: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    sharded: bool = False
    compression: str | None = None

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Length of each axis, by name."""
        return dict(zip(self.dims, self.shape, strict=True))

    @cached_property
    def n_indexed(self) -> int:
        """How many axes, those after ``sample``, are filled one index at a time while recording."""
        return sum(dim in INDEXED for dim in self.dims)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype in memory."""
        return BFLOAT16 if self.dtype == "bfloat16" else np.dtype(self.dtype)

    @property
    def fill_value(self) -> float | int | bool:
        """What unwritten values read as: NaN where the dtype has one."""
        if self.dtype in ("float32", "bfloat16", "float16"):
            return float("nan")
        return False if self.dtype == "bool" else 0

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Number of shards along every axis."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.shard, strict=True))

    @property
    def shards_per_sample(self) -> int:
        """Number of files that one sample has."""
        return math.prod(self.grid[1:])

    def shards(self, sample: int) -> Iterator[tuple[int, ...]]:
        """Grid positions of a sample's shards."""
        yield from ((sample, *rest) for rest in itertools.product(*map(range, self.grid[1:])))

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Every index along the axes that are filled one index at a time."""
        return np.ndindex(self.shape[1 : 1 + self.n_indexed])

    def shard_of(self, sample: int, index: tuple[int, ...]) -> tuple[int, ...]:
        """Grid position of the shard that holds an index."""
        inner = (i // s for i, s in zip(index, self.shard[1:], strict=False))
        return (sample, *inner, *(0 for _ in self.shape[1 + self.n_indexed :]))

    def region(self, shard: tuple[int, ...]) -> tuple[slice, ...]:
        """The part of the array that a shard covers, cut at the array's edge."""
        return tuple(
            slice(i * s, min((i + 1) * s, n)) for i, s, n in zip(shard, self.shard, self.shape, strict=True)
        )

    def region_shape(self, shard: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of :meth:`region`."""
        return tuple(part.stop - part.start for part in self.region(shard))

    def region_bytes(self, shard: tuple[int, ...]) -> int:
        """Bytes of a shard's values in memory."""
        return math.prod(self.region_shape(shard)) * self.numpy_dtype.itemsize

    @property
    def largest_region_bytes(self) -> int:
        """Bytes in memory of a shard that is not at the edge."""
        return self.region_bytes((0,) * len(self.shape))

    def file_name(self, shard: tuple[int, ...]) -> str:
        """A shard's file, relative to the store."""
        return f"{self.path}/c/{'/'.join(map(str, shard))}"

    def stored_bytes(self, shard: tuple[int, ...]) -> int:
        """Exact size of a shard's file, were it not compressed."""
        chunk = math.prod(self.chunk) * self.numpy_dtype.itemsize + CRC_BYTES
        if not self.sharded:
            return chunk
        real = (math.ceil(n / c) for n, c in zip(self.region_shape(shard), self.chunk, strict=True))
        slots = (s // c for s, c in zip(self.shard, self.chunk, strict=True))
        return math.prod(real) * chunk + math.prod(slots) * INDEX_ENTRY_BYTES + CRC_BYTES


@dataclass(frozen=True, repr=False)
class Forecast:
    """What will be written, in bytes on disk.

    Exact for the arrays of an uncompressed store, an upper bound for practical purposes of a compressed
    one; labels, manifest and ledger come on top and are small.

    Attributes:
        tensors: hidden states.
        stats: statistics.
        modulation: values at sites without tokens.
        masks: token masks.
        trajectory: latents and transformer outputs.
        images: final images.
        shards: number of files.
        samples: number of samples that these figures are for.
        seconds: expected time of the runs; None where it is unknown. Takes no part in comparisons.
    """

    tensors: int
    stats: int
    modulation: int
    masks: int
    trajectory: int
    images: int
    shards: int
    samples: int
    seconds: float | None = field(default=None, compare=False)

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(getattr(self, kind) for kind in KINDS)

    def __str__(self) -> str:
        parts = ((kind, getattr(self, kind)) for kind in KINDS)
        listed = ", ".join(f"{name} {readable_bytes(size)}" for name, size in parts if size)
        size = f"{readable_bytes(self.total)} in {self.shards} files for {self.samples} samples ({listed})"
        if self.seconds is None:
            return size
        minutes = f"{self.seconds / 60:.0f} minutes"
        return f"{size}, about {minutes if self.seconds >= 120 else f'{self.seconds:.0f} seconds'}"

    __repr__ = __str__


def plan_arrays(schema: Schema) -> dict[str, ArrayPlan]:
    """Every array of a store that is written per sample, by path."""
    plans: list[ArrayPlan] = []
    target = schema.shard_bytes
    lengths = {
        "sample": len(schema.samples),
        "step": len(schema.steps),
        "branch": len(schema.branches),
        "block": len(schema.blocks),
        "channel": len(schema.channels),
    }
    for stream in schema.streams:
        own = {**lengths, "token": stream.tokens}
        for site in schema.sites:
            plans += _site_plans(schema, own, stream.name, site)
        if not stream.has_grid:
            mask = _of(own, "sample", "branch", "token")
            plans.append(_plan(f"{stream.name}/token_mask", "masks", mask, "bool", target))
    if schema.trajectory is not None:
        run = schema.trajectory
        own = {
            **lengths,
            "step": len(run.steps),
            "step_boundary": len(run.steps) + 1,
            "token": run.tokens,
            "latent_channel": run.channels,
        }
        latents = _of(own, "sample", "step_boundary", "token", "latent_channel")
        outputs = _of(own, "sample", "step", "branch", "token", "latent_channel")
        plans += [
            _plan("trajectory/latents", "trajectory", latents, "float32", target),
            _plan("trajectory/transformer_output", "trajectory", outputs, schema.dtype, target),
        ]
    if schema.image_height is not None and schema.image_width is not None:
        pixels = {"y_pixel": schema.image_height, "x_pixel": schema.image_width, "rgb": 3}
        plans.append(_plan("images", "images", {"sample": len(schema.samples), **pixels}, "uint8", target))
    return {plan.path: plan for plan in plans}


def _of(lengths: Mapping[str, int], *dims: str) -> dict[str, int]:
    return {dim: lengths[dim] for dim in dims}


def _site_plans(schema: Schema, lengths: Mapping[str, int], stream: str, site: str) -> Iterator[ArrayPlan]:
    """A site's values, and statistics of one with tokens."""
    spec = site_spec(site)
    values = _of(lengths, *spec.dims)
    dtype = spec.dtype or schema.dtype
    small = min(STATS_BYTES, schema.shard_bytes)
    if not spec.has_tokens:
        yield _plan(f"{stream}/{site}", "modulation", values, dtype, small)
        return
    if schema.tensors:
        yield _sharded(f"{stream}/{site}", values, dtype, schema.shard_bytes, schema.compression)
    for name in STATISTIC_ARRAYS if schema.stats else ():
        dims = VALUE_DIMS[:-1] if name == "count" else VALUE_DIMS
        dtype = "int32" if name in ("nonfinite", "count") else "float32"
        yield _plan(f"{stream}/stats/{site}/{name}", "stats", _of(lengths, *dims), dtype, small)


def forecast(schema: Schema, samples: int | None = None) -> Forecast:
    """Bytes and files of a store, or of ``samples`` of its samples."""
    count = len(schema.samples) if samples is None else samples
    sizes = dict.fromkeys(KINDS, 0)
    shards = 0
    for plan in plan_arrays(schema).values():
        sizes[plan.kind] += count * sum(plan.stored_bytes(shard) for shard in plan.shards(0))
        shards += count * plan.shards_per_sample
    return Forecast(**sizes, shards=shards, samples=count)


def equal_parts(length: int, most: int) -> int:
    """Length of the parts when ``length`` is cut into as few nearly equal parts of at most ``most``.

    Equal parts keep the last one from being a sliver: 57 in parts of at most 32 is 29 + 28, not 32 + 25.
    """
    return math.ceil(length / math.ceil(length / max(1, most)))


def dividing_parts(length: int, most: int) -> int:
    """As :func:`equal_parts`, with parts that divide ``length`` where some are more than half as long.

    For files that are padded where they reach past the array's edge: 28 in parts of at most 5 is 7 x 4, and
    not 6 x 5, of which the last holds 3.
    """
    equal = equal_parts(length, most)
    return next((part for part in range(equal, equal // 2, -1) if length % part == 0), equal)


def span(
    lengths: dict[str, int], unit: int, target: int, cut: Callable[[int, int], int] = equal_parts
) -> dict[str, int]:
    """How far a shard reaches along block, then step, then branch, where each index takes ``unit`` bytes."""
    reach = dict.fromkeys(lengths, 1)
    room = target // max(1, unit)
    for dim in filter(lengths.__contains__, INDEXED):
        reach[dim] = cut(lengths[dim], room)
        if reach[dim] < lengths[dim]:
            break
        room //= lengths[dim]
    return reach


def readable_bytes(size: float) -> str:
    """A size as people write it: ``1.5 GB`` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _plan(path: str, kind: str, lengths: Mapping[str, int], dtype: str, target: int) -> ArrayPlan:
    """An array whose files are one chunk each."""
    reach, whole = _cut(lengths, dtype, target, dividing_parts)
    shard = (1, *reach, *whole)
    return ArrayPlan(path, kind, tuple(lengths), tuple(lengths.values()), shard, shard, dtype)


def _sharded(
    path: str, lengths: Mapping[str, int], dtype: str, target: int, compression: str | None
) -> ArrayPlan:
    """Hidden states, whose files hold a chunk for every few channels of all tokens."""
    reach, (tokens, channels) = _cut(lengths, dtype, target, equal_parts)
    part = equal_parts(channels, CHANNELS_PER_CHUNK)
    # The shard must be a multiple of the chunk, so the channel axis is padded on disk (by less than a chunk).
    shard = (1, *reach, tokens, math.ceil(channels / part) * part)
    chunk = (1, *(1 for _ in reach), tokens, part)
    dims, shape = tuple(lengths), tuple(lengths.values())
    return ArrayPlan(path, "tensors", dims, shape, shard, chunk, dtype, True, compression)


def _cut(
    lengths: Mapping[str, int], dtype: str, target: int, cut: Callable[[int, int], int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How far a shard reaches along the indexed axes, and the lengths of the others, which it has whole."""
    _, *dims = lengths
    indexed = {dim: lengths[dim] for dim in dims if dim in INDEXED}
    whole = tuple(lengths[dim] for dim in dims if dim not in INDEXED)
    itemsize = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    reach = span(indexed, math.prod(whole) * itemsize, target, cut)
    return tuple(reach.values()), whole
