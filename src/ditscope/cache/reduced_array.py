"""What a function makes of all tokens of each channel: of a stored array, piece by piece as it is read.

A block of FLUX.1's size is 25 MB. Put together first, in memory that is new to the process, it costs more to have than
to reduce; a piece of a megabyte is read, checked and reduced while it is in a core's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array
import numpy as np

from ditscope.cache.chunk_reading import FileRead
from ditscope.cache.lazy_array import READ_BYTES, StoredArray, lazily, selected
from ditscope.errors import InputError

Reduce = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
"""``[..., token, channel]`` -> real numbers ``[..., row, channel]``, each channel by itself."""

TASK_BYTES = 64 * 2**20
"""Bytes that one task reads; of whole chunks no more than a piece is in memory."""


class ReducedArray:
    """``[sample, ..., row, channel]``, with numpy's indexing for what dask asks of it.

    Args:
        stored: hidden states ``[sample, ..., token, channel]``, all channels of committed samples.
        reduce: what is made of the tokens.
        rows: how many rows it returns.
    """

    dtype = np.dtype(np.float64)

    def __init__(self, stored: StoredArray, reduce: Reduce, rows: int) -> None:
        self.stored, self.reduce = stored, reduce
        *self._lead, self._tokens, channels = stored.shape
        self.shape = (*self._lead, rows, channels)
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        """Read and reduce a selection.

        Raises:
            CacheError: a chunk is not what was recorded.
            InputError: the function returns something else.
        """
        (samples, *lead, rows, channels), residue = selected(key, self.shape)
        places = [*lead, np.arange(self._tokens), channels]
        reads = self.stored.source.files_with(places)
        made = np.empty((*map(len, (samples, *lead)), self.shape[-2], len(channels)))
        for row, sample in enumerate(samples.tolist()):
            self._reduce(self.stored.samples[sample], reads, [len(at) for at in places], made[row])
        return made[..., rows, :][residue]

    def to_dask(self, token: str) -> dask.array.Array:
        """As a dask array whose tasks read so much that they cost nothing beside it."""
        in_pieces = self.stored.plan.compression is None
        *lead, _, channels = self.stored.chunks(TASK_BYTES if in_pieces else READ_BYTES)
        chunks = (*lead, self.shape[-2], channels)
        path = self.stored.plan.path
        return lazily(self, chunks, f"{path}-reduced", token, *self.stored.what, self.reduce, self.shape[-2])

    def _reduce(self, sample: int, reads: list[FileRead], shape: list[int], made: np.ndarray) -> None:
        source, dtype = self.stored.source, self.stored.dtype
        if not all(self._by_the_piece(read) for read in reads):
            values = np.empty(shape, dtype)
            source.read_files(sample, reads, values.view(f"u{dtype.itemsize}"))
            made[...] = self._reduced(values)
            return
        for read in reads:
            *lead, _, channels = read.place
            into = made[(*lead, slice(None), channels)]
            for at, first, values in source.pieces(sample, read):
                # The file's order: chunks of some channels, in each all tokens.
                chunks = values[(0,) * (values.ndim - 3)].transpose(1, 0, 2)
                reduced = self._reduced(chunks.view(dtype))
                start, length = first * chunks.shape[-1], len(chunks) * chunks.shape[-1]
                here = into[at[: len(lead)]][:, start : start + length]
                here[...] = reduced.transpose(1, 0, 2).reshape(here.shape)

    def _reduced(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        *lead, _, channels = values.shape
        values.flags.writeable = False  # they are others' as well, or are read again
        made, expected = self.reduce(values), (*lead, self.shape[-2], channels)
        if isinstance(made, np.ma.MaskedArray):
            made = np.ma.filled(made.astype(self.dtype), np.nan)
        reduced = np.asarray(made)
        if reduced.shape != expected or reduced.dtype.kind in "cOSUMm":
            raise InputError(
                f"{reduced.dtype} {list(reduced.shape)} from the function, of values {list(values.shape)}",
                f"real numbers [..., row, channel], here {list(expected)}",
                "Let it reduce the last axis but one, and say in rows= how many rows it returns.",
            )
        return reduced

    def _by_the_piece(self, read: FileRead) -> bool:
        """Whether pieces of this file are whole chunks with all tokens of a block."""
        one_block = (*(1 for _ in self._lead[1:]), self._tokens)
        of_chunks = read.pairs is not None and read.last is None
        return of_chunks and read.form.chunk[:-1] == one_block and self.stored.source.is_large(read)
