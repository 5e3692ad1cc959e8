"""The bytes of one file: where its chunks, their checksums and its index are (zarr v3: regular chunks, or sharding).

A sharded file is its chunks in the order of the array's axes, each with its CRC-32C behind it, and at the end the
index: offset and length of every chunk slot (``sharding_indexed``, zarr v3 specification), with a CRC-32C of its own.
Any other file is one chunk and its CRC-32C. Since sizes are known beforehand, values are copied straight to where
they will lie in the file, and what is left to do when the last has come are the checksums.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

from ditscope.cache.layout import CRC_BYTES, INDEX_ENTRY_BYTES, ArrayPlan

Copy = Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], object]
"""Copies the second array's values into the first, of the same shape and dtype: as ``numpy.copyto`` does."""

BLOSC = {"cname": "zstd", "clevel": 1, "shuffle": 1}
"""zstd at level 1 behind a byte shuffle: the exponents of neighbours compress, the mantissas do not."""

_ABSENT = 2**64 - 1


@dataclass(frozen=True)
class FileForm:
    """Where everything is in a file of an array, before compression.

    Attributes:
        grid: number of chunks along every axis.
        chunk: lengths of a chunk.
        dtype: unsigned dtype of the values' bits.
        slots: grid of the index, which may have room for chunks past the array's edge; None without an index.
    """

    grid: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]
    slots: tuple[int, ...] | None

    @functools.cached_property
    def n_chunks(self) -> int:
        """Number of chunks in the file."""
        return math.prod(self.grid)

    @functools.cached_property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk without its checksum."""
        return math.prod(self.chunk) * self.dtype.itemsize

    @property
    def pitch(self) -> int:
        """Bytes from one chunk to the next."""
        return self.chunk_bytes + CRC_BYTES

    @functools.cached_property
    def index_bytes(self) -> int:
        """Bytes of the index with its checksum; 0 without one."""
        return 0 if self.slots is None else math.prod(self.slots) * INDEX_ENTRY_BYTES + CRC_BYTES

    @functools.cached_property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.n_chunks * self.pitch + self.index_bytes

    def values(self, data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A file's values inside of its bytes: a view ``[grid, chunk, grid, chunk, ...]``, a pair for each axis."""
        return chunk_view(data, self.grid, self.chunk, self.dtype)

    def set_checksums(
        self, data: np.ndarray[Any, Any], before_each: Callable[[int], object] | None = None
    ) -> np.ndarray[Any, Any]:
        """Write the CRC-32C of every chunk behind it; uint32 ``[chunk]``.

        ``before_each`` gets the chunks' numbers, for who looks at them too: they are in a core's cache then.
        """
        checksums = np.empty(self.n_chunks, "<u4")
        for number in range(self.n_chunks):
            if before_each is not None:
                before_each(number)
            checksums[number] = google_crc32c.value(self.chunk_of(data, number))
        np.ndarray((self.n_chunks,), "<u4", data, self.chunk_bytes, (self.pitch,))[:] = checksums
        return checksums

    def chunk_of(self, data: np.ndarray[Any, Any], number: int) -> np.ndarray[Any, Any]:
        """A chunk's bytes without its checksum."""
        start = number * self.pitch
        return data[start : start + self.chunk_bytes]

    def index(self, sizes: Sequence[int]) -> bytes:
        """The index of a file whose chunks, checksums included, have these sizes."""
        if self.slots is None:
            return b""
        entries = np.full((*self.slots, 2), _ABSENT, "<u8")
        ends = np.cumsum(sizes, dtype="<u8")
        present = entries[tuple(slice(0, n) for n in self.grid)]
        present[...] = np.stack([ends - np.asarray(sizes, "<u8"), np.asarray(sizes, "<u8")], -1).reshape(
            *self.grid, 2
        )
        content = entries.tobytes()
        return content + int(google_crc32c.value(content)).to_bytes(CRC_BYTES, "little")

    @functools.cached_property
    def plain_index(self) -> bytes:
        """The index of a file that is not compressed."""
        return self.index([self.pitch] * self.n_chunks)


def file_form(plan: ArrayPlan, shard: tuple[int, ...]) -> FileForm:
    """The form of an array's file."""
    return _form(plan.region_shape(shard), plan.shard, plan.chunk, plan.numpy_dtype.itemsize, plan.sharded)


@functools.lru_cache(maxsize=256)
def _form(
    region: tuple[int, ...], shard: tuple[int, ...], chunk: tuple[int, ...], itemsize: int, sharded: bool
) -> FileForm:
    grid = tuple(math.ceil(n / c) for n, c in zip(region, chunk, strict=True))
    slots = tuple(s // c for s, c in zip(shard, chunk, strict=True)) if sharded else None
    return FileForm(grid, chunk, np.dtype(f"u{itemsize}"), slots)


def chunk_view(
    data: np.ndarray[Any, Any], grid: Sequence[int], chunk: Sequence[int], dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    """Chunks that lie one behind the other, each with its checksum, as a view ``[grid, chunk, grid, chunk, ...]``."""
    step = math.prod(chunk) * dtype.itemsize + CRC_BYTES
    inner = dtype.itemsize
    shape: list[int] = []
    strides: list[int] = []
    for n_chunks, length in zip(reversed(grid), reversed(chunk), strict=True):
        shape[:0] = n_chunks, length
        strides[:0] = step, inner
        step *= n_chunks
        inner *= length
    return np.ndarray(shape, dtype, data, 0, strides)


def copy_runs(target: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> None:
    """Copy values into a view of the same shape; what lies in one piece in both, such as 32 channels, as one item.

    numpy copies value by value where the last axis is short: chunks into their place in an array at 2.9 GB/s, and in
    whole runs at 4.3.
    """
    nbytes = target.shape[-1] * target.itemsize
    if all(array.strides[-1] == array.itemsize for array in (target, source)):
        target, source = target.view(f"V{nbytes}"), source.view(f"V{nbytes}")
    target[...] = source


def place(
    target: np.ndarray[Any, Any], values: np.ndarray[Any, Any], fill: np.ndarray[Any, Any], copy: Copy
) -> None:
    """Copy values into their place in a file; what they do not cover is padding.

    Args:
        target: view ``[grid, chunk, ...]``, a pair for each axis of the values.
        values: bits of the values, of at most ``grid x chunk`` along each axis.
        fill: what padding is, without axes.
        copy: how to copy.
    """
    pairs = target.shape
    whole = tuple([g * c for g, c in zip(pairs[::2], pairs[1::2], strict=True)])
    if values.shape != whole:
        padded = np.full(whole, fill, values.dtype)
        padded[tuple(slice(0, n) for n in values.shape)] = values
        values = padded
    copy(target, values.reshape(pairs))


def compressed(
    form: FileForm, data: np.ndarray[Any, Any], checksums: np.ndarray[Any, Any]
) -> Iterator[bytes]:
    """A file's bytes with every chunk compressed, part by part, so that no more than a chunk is in memory twice.

    Args:
        form: of the file.
        data: its bytes before compression.
        checksums: uint32 ``[chunk]``, where the CRC-32C of each goes.
    """
    codec, sizes = numcodecs.Blosc(**BLOSC), []
    for number in range(form.n_chunks):
        part = codec.encode(form.chunk_of(data, number).view(form.dtype))
        checksums[number] = google_crc32c.value(part)
        sizes.append(len(part) + CRC_BYTES)
        yield part
        yield int(checksums[number]).to_bytes(CRC_BYTES, "little")
    yield form.index(sizes)


def most_encoded_bytes(chunk_bytes: int) -> int:
    """Bytes that a chunk takes at most once it is compressed, with those of the codec's header."""
    return chunk_bytes + 16
