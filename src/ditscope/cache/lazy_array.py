"""A stored array as dask sees it: selected lazily, read by :mod:`ditscope.cache.chunk_reading`.

dask fuses the first selection of integers and slices into the read, so ``.sel(block=5, step=0)`` reads
one block's chunks. It does not fuse lists, such as lists of channels; those go in up front, as ``channels``.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from typing import Any

import dask.array
import dask.threaded
import numpy as np
from dask.base import tokenize

from ditscope.cache.chunk_reading import ChunkSource
from ditscope.cache.layout import span

READ_BYTES = 32 * 2**20
"""Byte target of one dask chunk: large enough that its task costs nothing, small enough for many at once."""


class StoredArray:
    """Selected samples (and channels) of a stored array, with numpy's indexing for what dask asks of it.

    Args:
        source: the array's files.
        samples: positions along the first axis; those that are not committed have fill values.
        channels: positions along the last axis, or None for all.
        statistic: position along the axis ``statistic``, which is left out then; None where there is none.
        count: whether the values are numbers of something: int32, and 0 of samples that are not committed.
    """

    def __init__(
        self,
        source: ChunkSource,
        samples: Sequence[int],
        channels: Sequence[int] | None = None,
        *,
        statistic: int | None = None,
        count: bool = False,
    ) -> None:
        self._count = count
        self.source, self.plan = source, source.plan
        self.samples = tuple(samples)
        self.channels = None if channels is None else tuple(channels)
        self.statistic = statistic
        shape = list(self.plan.shape)
        if self.channels is not None:
            shape[-1] = len(self.channels)
        self.dims = ("sample", *self.plan.dims)
        if statistic is not None:
            del shape[self.plan.dims.index("statistic")]
            self.dims = tuple(dim for dim in self.dims if dim != "statistic")
        self.shape = (len(self.samples), *shape)
        self.dtype = np.dtype(np.int32) if count else self.plan.numpy_dtype
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        """Read a selection of integers, slices and at most one list of positions.

        Raises:
            CacheError: a chunk is not what was recorded.
        """
        chosen, residue = selected(key, self.shape)
        values = np.empty([len(positions) for positions in chosen], self.plan.numpy_dtype)
        if values.size:
            self._fill(values, chosen)
        values = values[residue]
        return np.nan_to_num(values).astype(self.dtype) if self._count else values

    def to_dask(self, token: str) -> dask.array.Array:
        """As a dask array whose chunks hold as many blocks, steps, branches and samples as make a good read.

        Args:
            token: what identifies the recording; equal selections of it get equal dask names.
        """
        return lazily(self, self.chunks(READ_BYTES), self.plan.path, token, *self.what)

    @property
    def what(self) -> tuple[Any, ...]:
        """What of the array is selected."""
        return self.samples, self.channels, self.statistic, self._count

    def chunks(self, nbytes: int) -> tuple[int, ...]:
        """Lengths of what is read in one task, of at most so many bytes where that is possible."""
        indexed = self.plan.n_indexed
        lengths = dict(zip(self.dims[1 : 1 + indexed], self.shape[1:], strict=False))
        whole = self.shape[1 + indexed :]
        unit = math.prod(whole) * self.dtype.itemsize
        inner = tuple(span(lengths, unit, nbytes).values())
        # Of a list of channels whole chunks are read and most of them dropped.
        per_sample = max(1, unit * math.prod(inner))
        samples = max(1, nbytes // per_sample) if inner == self.shape[1 : 1 + indexed] else 1
        return (max(1, min(samples, len(self.samples))), *inner, *whole)

    def _fill(self, values: np.ndarray[Any, Any], chosen: list[np.ndarray[Any, Any]]) -> None:
        samples, *inner = chosen
        if self.channels is not None:
            inner[-1] = np.asarray(self.channels)[inner[-1]]
        if self.statistic is not None:
            axis = self.plan.dims.index("statistic")
            inner.insert(axis, np.array([self.statistic]))
            values = np.expand_dims(values, axis + 1)
        bits = values.view(f"u{values.dtype.itemsize}")
        reads = self.source.files_with(inner)
        for row, position in enumerate(samples.tolist()):
            if self.samples[position] in self.source.stored:
                self.source.read_files(self.samples[position], reads, bits[row])
            else:
                values[row] = self.plan.fill_value


def lazily(array: Any, chunks: tuple[int, ...], path: str, *own: Any) -> dask.array.Array:
    """An array of ours as one of dask, which is named after the path and all that its values depend on."""
    return dask.array.from_array(
        array,
        chunks=chunks,
        name=f"{path.replace('/', '-')}-{tokenize(path, *own)}",
        asarray=False,
        fancy=True,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def selected(
    key: Any, shape: tuple[int, ...]
) -> tuple[list[np.ndarray[Any, Any]], tuple[slice | int | np.ndarray[Any, Any], ...]]:
    """Positions that a selection takes along each axis, and the index into what is read of them.

    The index drops the axis of an integer, and keeps a list's axis where it is.
    """
    keys = key if isinstance(key, tuple) else (key,)
    parts = [*keys, *[slice(None)] * (len(shape) - len(keys))]
    positions = [np.arange(length)[part] for length, part in zip(shape, parts, strict=True)]
    residue = tuple(_residue(part, at) for part, at in zip(parts, positions, strict=True))
    return [np.atleast_1d(at) for at in positions], residue


def _residue(part: Any, positions: np.ndarray[Any, Any]) -> Any:
    if isinstance(part, slice):
        return slice(None)
    return 0 if positions.ndim == 0 else np.arange(len(positions))


def _new_pool_in_child() -> None:
    """A forked child has its parent's thread pool without its threads, and would wait for them for ever."""
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
    dask.threaded.pools_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pool_in_child)
