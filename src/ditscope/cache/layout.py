"""Which arrays a store has, how they are cut into files and chunks, and how many bytes that makes.

One rule cuts every array. A file never spans two samples; within a sample it spans as many blocks, then steps, then
branches as fit the byte target, in equal parts, and always all tokens and channels. So a file is written once,
whole, and no commit touches another sample's files. Inside a file of hidden states the chunks hold all tokens of a
few channels at one ``(step, branch, block)``, so that reading a few channels does not read the tensor; inside one of
statistics they hold one statistic.

The rule is free to change: a store's manifest says how its own arrays are cut.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ditscope.cache import schema_checks
from ditscope.cache.bfloat16 import DTYPE as BFLOAT16
from ditscope.cache.schema import COMPRESSIONS, Schema, StoredSite
from ditscope.checks import whole_number
from ditscope.errors import InputError, unknown_name
from ditscope.vocabulary import VALUE_DIMS

CHANNELS_PER_CHUNK = 32
"""Most channels in one chunk of a hidden state."""

STATS_BYTES = 4 * 2**20
"""Byte target of a file of modulation: small, because several are open at once while recording."""

INDEXED = ("block", "step", "step_boundary", "branch")
"""Dims that are filled one index at a time while recording, in the order in which a file reaches along them."""

KINDS = ("tensors", "stats", "modulation", "masks", "trajectory", "images")
"""What arrays hold."""

STATISTICS_FOLDER = "statistics"
"""A site's group of statistics."""

CRC_BYTES = 4
INDEX_ENTRY_BYTES = 16

_DTYPES = ("float32", "bfloat16", "float16", "uint8", "bool", "int32")
# Bounds for stores of strangers: what one value costs to read, and how many files a sample can have.
_MOST_CHUNK_BYTES = 2**30
_MOST_COMPRESSED_BYTES = (
    2**26
)  # of a chunk, before it is compressed: a few bytes on disk can claim to be as many
_MOST_FILE_BYTES = 2**34
_MOST_FILES = 2**20
_MOST_CHUNKS = 2**24


Index = tuple[int | slice, ...]
"""Positions along the axes that are filled one index at a time; the last may be a run of them, a slice."""


def indices_of(index: Index) -> Iterator[tuple[int, ...]]:
    """A single index, or each of a run."""
    spans = [range(i.start, i.stop) if isinstance(i, slice) else (i,) for i in index]
    return itertools.product(*spans)


@dataclass(frozen=True)
class ArrayPlan:
    """One array of the store; lengths are those of one sample, and ``sample`` is the array's first axis.

    Attributes:
        path: where it is in the store, such as ``image/block_output/hidden``.
        kind: ``tensors``, ``stats``, ``modulation``, ``masks``, ``trajectory`` or ``images``.
        dims: names of the axes after ``sample``.
        shape: lengths of these axes.
        shard: lengths of what one file spans; of a sharded array, multiples of ``chunk``.
        chunk: lengths of the smallest piece that can be read.
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

    def __post_init__(self) -> None:
        for name in self.path.split("/"):
            if not schema_checks.NAME.fullmatch(name):
                raise InputError(f"array path {self.path!r}", "lower-case names parted by /", _DAMAGED)
        if self.kind not in KINDS:
            raise unknown_name("kind of array", self.kind, KINDS)
        if self.dtype not in _DTYPES:
            raise unknown_name("dtype", self.dtype, _DTYPES)
        if self.compression not in (None, *COMPRESSIONS):
            raise unknown_name("compression", self.compression, (None, *COMPRESSIONS))
        if self.compression is not None and not self.sharded:
            raise InputError(f"compressed files without index of array {self.path}", "an index", _DAMAGED)
        lengths = (self.dims, self.shape, self.shard, self.chunk)
        if len({len(part) for part in lengths}) > 1 or len(set(self.dims)) < len(self.dims):
            raise InputError(f"axes {lengths} of array {self.path}", "one length of each", _DAMAGED)
        if any(dim in INDEXED for dim in self.dims[self.n_indexed :]):
            raise InputError(
                f"dims {self.dims} of array {self.path}", f"{', '.join(INDEXED)} first", _DAMAGED
            )
        for whole, file, part in zip(self.shape, self.shard, self.chunk, strict=True):
            for length in (whole, file, part):
                whole_number(f"a length of array {self.path}", length, most=2**31)
            # Files are padded by less than a chunk.
            fits = file % part == 0 and (file - part < whole if self.sharded else file == part <= whole)
            if not fits:
                raise InputError(
                    f"lengths {whole}, {file}, {part} of array {self.path}",
                    "a file of whole chunks",
                    _DAMAGED,
                )
        n_chunks = math.prod(math.ceil(n / c) for n, c in zip(self.shape, self.chunk, strict=True))
        chunk_bytes = math.prod(self.chunk) * self.numpy_dtype.itemsize
        most_bytes = _MOST_CHUNK_BYTES if self.compression is None else _MOST_COMPRESSED_BYTES
        for what, found, most in (
            ("bytes in a chunk", chunk_bytes, most_bytes),
            ("bytes in a file", math.prod(self.shard) * self.numpy_dtype.itemsize, _MOST_FILE_BYTES),
            ("files a sample", self.shards_per_sample, _MOST_FILES),
            ("chunks a sample", n_chunks, _MOST_CHUNKS),
        ):
            if found > most:
                raise InputError(f"{found} {what} of array {self.path}", f"at most {most}", _DAMAGED)

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Length of each axis after ``sample``, by name."""
        return dict(zip(self.dims, self.shape, strict=True))

    @cached_property
    def value_lengths(self) -> dict[str, int]:
        """Length of each axis of what is put at one index, by name."""
        return dict(list(self.lengths.items())[self.n_indexed :])

    @cached_property
    def _whole(self) -> tuple[int, ...]:
        """Grid position of every file along the other axes."""
        return (0,) * (len(self.shape) - self.n_indexed)

    @cached_property
    def n_indexed(self) -> int:
        """How many axes, the first ones, are filled one index at a time while recording."""
        return sum(dim in INDEXED for dim in self.dims)

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype in memory."""
        return BFLOAT16 if self.dtype == "bfloat16" else np.dtype(self.dtype)

    @property
    def fill_value(self) -> float | int | bool:
        """What unwritten values read as elsewhere, and padding is: NaN where the dtype has one."""
        if self.dtype in ("float32", "bfloat16", "float16"):
            return float("nan")
        return False if self.dtype == "bool" else 0

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Number of files along every axis."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.shard, strict=True))

    @property
    def shards_per_sample(self) -> int:
        """Number of files that one sample has."""
        return math.prod(self.grid)

    @cached_property
    def shards(self) -> tuple[tuple[int, ...], ...]:
        """Grid positions of a sample's files, in order."""
        return tuple(itertools.product(*map(range, self.grid)))

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Every index along the axes that are filled one index at a time."""
        return np.ndindex(self.shape[: self.n_indexed])

    def shard_of(self, index: Index) -> tuple[int, ...]:
        """Grid position of the file that holds an index, or where a run of them begins."""
        first = [i.start if isinstance(i, slice) else i for i in index]
        return (*[i // s for i, s in zip(first, self.shard, strict=False)], *self._whole)

    def in_one_piece(self, index: Index) -> Iterator[tuple[Index, slice]]:
        """An index, or the parts of a run of them that lie in one file and, where it spans several, one chunk.

        Yields:
            (index, which part of the run); all of what there is at a single index.
        """
        if not index or not isinstance(index[-1], slice):
            yield index, slice(None)
            return
        axis, run = len(index) - 1, index[-1]
        most = self.shard[axis] if self.chunk[axis] == 1 else self.chunk[axis]
        start = run.start
        while start < run.stop:
            stop = min(run.stop, start - start % most + most)
            yield (*index[:-1], slice(start, stop)), slice(start - run.start, stop - run.start)
            start = stop

    def region(self, shard: tuple[int, ...]) -> tuple[slice, ...]:
        """The part of a sample that a file covers, cut at the array's edge."""
        return tuple(
            slice(i * s, min((i + 1) * s, n)) for i, s, n in zip(shard, self.shard, self.shape, strict=True)
        )

    def region_shape(self, shard: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of :meth:`region`."""
        return tuple(part.stop - part.start for part in self.region(shard))

    def file_name(self, sample: int, shard: tuple[int, ...]) -> str:
        """A sample's file, relative to the store."""
        return f"{self.path}/c.{'.'.join(map(str, (sample, *shard)))}"

    @cached_property
    def chunks(self) -> tuple[int, ...]:
        """Number of chunks in each file of a sample, in the order of :attr:`shards`."""
        axes = zip(self.grid, self.shard, self.shape, self.chunk, strict=True)
        along = [[math.ceil(min(s, n - i * s) / c) for i in range(g)] for g, s, n, c in axes]
        return tuple(map(math.prod, itertools.product(*along)))

    @cached_property
    def first_chunks(self) -> tuple[int, ...]:
        """How many chunks of a sample come before each of its files; and, last, how many it has."""
        return tuple(itertools.accumulate(self.chunks, initial=0))

    @cached_property
    def file_bytes(self) -> tuple[int, ...]:
        """Exact size of each file of a sample, were it not compressed, in the order of :attr:`shards`."""
        chunk = math.prod(self.chunk) * self.numpy_dtype.itemsize + CRC_BYTES
        slots = math.prod(s // c for s, c in zip(self.shard, self.chunk, strict=True))
        index = slots * INDEX_ENTRY_BYTES + CRC_BYTES if self.sharded else 0
        return tuple(count * chunk + index for count in self.chunks)

    @property
    def largest_file_bytes(self) -> int:
        """Bytes of the largest file."""
        return max(self.file_bytes)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values; its path is its name in the manifest."""
        return {own.name: getattr(self, own.name) for own in fields(self) if own.name != "path"}

    @classmethod
    def from_json(cls, path: str, data: Mapping[str, Any]) -> ArrayPlan:
        """Build a plan from :meth:`to_json`'s output.

        Raises:
            InputError: fields are missing, unknown or unusable.
        """
        if set(data) != {own.name for own in fields(cls)} - {"path"}:
            raise InputError(f"fields {sorted(data)} of array {path}", "those of cache version 1", _DAMAGED)
        lists = ("dims", "shape", "shard", "chunk")
        values: dict[str, Any] = {name: tuple(v) if name in lists else v for name, v in data.items()}
        return cls(path, **values)


_DAMAGED = "The store is damaged, or none of ditscope's."


def plan_arrays(schema: Schema) -> dict[str, ArrayPlan]:
    """Every array that a new store writes for each sample, by path."""
    plans: list[ArrayPlan] = []
    target = schema.shard_bytes
    lengths = {
        "step": len(schema.steps),
        "branch": len(schema.branches),
        "statistic": len(schema.statistics),
        "channel": len(schema.channels),
    }
    for site in schema.sites:
        tokens = schema.stream(site.stream).kept_tokens
        plans += _site_plans(
            schema, {**lengths, "block": len(site.blocks), "token": tokens, **site.lengths}, site
        )
    for stream in schema.streams:
        if not stream.has_grid:
            mask = _of({**lengths, "token": stream.tokens}, "branch", "token")
            plans.append(_plan(f"{stream.name}/token_mask", "masks", mask, "bool", target))
        if stream.random_tokens is not None and schema.tensors:
            ids = {"token": stream.random_tokens}
            plans.append(_plan(f"{stream.name}/token_id", "masks", ids, "int32", target))
    if schema.trajectory is not None:
        run = schema.trajectory
        own = {
            **lengths,
            "step": len(run.steps),
            "step_boundary": len(run.steps) + 1,
            "token": run.tokens,
            "latent_channel": run.channels,
        }
        latents = _of(own, "step_boundary", "token", "latent_channel")
        outputs = _of(own, "step", "branch", "token", "latent_channel")
        plans += [
            _plan("trajectory/latents", "trajectory", latents, "float32", target),
            _plan("trajectory/transformer_output", "trajectory", outputs, schema.dtype, target),
        ]
    if schema.image_height is not None and schema.image_width is not None:
        pixels = {"y_pixel": schema.image_height, "x_pixel": schema.image_width, "rgb": 3}
        plans.append(_plan("images", "images", pixels, "uint8", target))
    return {plan.path: plan for plan in plans}


def statistics_path(stream: str, site: str) -> str:
    """The array of a site's statistics."""
    return f"{stream}/{site}/{STATISTICS_FOLDER}/over_tokens"


def values_path(site: StoredSite) -> str:
    """The array of a site's values: hidden states, or modulation."""
    return f"{site.folder}/{'hidden' if site.has_tokens else 'values'}"


def _of(lengths: Mapping[str, int], *dims: str) -> dict[str, int]:
    return {dim: lengths[dim] for dim in dims}


def _site_plans(schema: Schema, lengths: Mapping[str, int], site: StoredSite) -> Iterator[ArrayPlan]:
    """A site's values, and statistics of one with tokens."""
    values = _of(lengths, *site.dims[1:])
    if not site.has_tokens:
        small = min(STATS_BYTES, schema.shard_bytes)
        yield _plan(values_path(site), "modulation", values, site.dtype, small)
        return
    if schema.tensors:
        yield _sharded(
            values_path(site), "tensors", values, site.dtype, schema.shard_bytes, schema.compression
        )
    if schema.stats:
        statistics = _of(lengths, *VALUE_DIMS[1:-1], "statistic", "channel")
        path = statistics_path(site.stream, site.name)
        yield _sharded(path, "stats", statistics, "float32", schema.shard_bytes, None)


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
    shard = (*_reach(lengths, dtype, target, dividing_parts).values(),)
    return ArrayPlan(path, kind, tuple(lengths), tuple(lengths.values()), shard, shard, dtype)


def _sharded(
    path: str, kind: str, lengths: Mapping[str, int], dtype: str, target: int, compression: str | None
) -> ArrayPlan:
    """An array of which few channels, or one statistic, can be read without the rest."""
    # Chunks of statistics reach as far as their file does, and are padded where that is past the edge.
    reach = _reach(lengths, dtype, target, dividing_parts if kind == "stats" else equal_parts)
    if kind == "stats":
        chunk = {**reach, "statistic": 1}
    else:
        part = equal_parts(lengths["channel"], CHANNELS_PER_CHUNK)
        # A file must be whole chunks, so the channel axis is padded on disk (by less than a chunk).
        reach["channel"] = math.ceil(lengths["channel"] / part) * part
        chunk = {dim: 1 if dim in INDEXED else part if dim == "channel" else n for dim, n in lengths.items()}
    shape, shard = tuple(lengths.values()), tuple(reach.values())
    return ArrayPlan(
        path, kind, tuple(lengths), shape, shard, tuple(chunk.values()), dtype, True, compression
    )


def _reach(
    lengths: Mapping[str, int], dtype: str, target: int, cut: Callable[[int, int], int]
) -> dict[str, int]:
    """How far a file reaches: along the indexed axes as far as it goes, along the others all of them."""
    indexed = {dim: n for dim, n in lengths.items() if dim in INDEXED}
    whole = {dim: n for dim, n in lengths.items() if dim not in INDEXED}
    itemsize = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    reach = span(indexed, math.prod(whole.values()) * itemsize, target, cut)
    return {dim: reach.get(dim, n) for dim, n in lengths.items()}
