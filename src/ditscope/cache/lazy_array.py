"""A stored array as dask sees it: selected lazily, read through TensorStore.

dask fuses the first selection of integers and slices into the read, so ``.sel(block=5, step=0)`` reads
one block's chunks. It does not fuse lists, such as lists of channels; those go in up front, as ``channels``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
from dask.base import tokenize

from ditscope.cache import storage
from ditscope.cache.layout import ArrayPlan, span
from ditscope.errors import CacheError

READ_BYTES = 4 * 2**20
"""Byte target of one dask chunk: large enough for few tasks, small enough that a selection which dask does
not fuse wastes milliseconds."""


class StoredArray:
    """Selected samples (and channels) of a stored array, with numpy's indexing for what dask asks of it.

    Args:
        store: folder of the store.
        plan: which array.
        samples: positions along the first axis.
        channels: positions along the last axis, or None for all.
    """

    def __init__(
        self, store: Path, plan: ArrayPlan, samples: Sequence[int], channels: Sequence[int] | None = None
    ) -> None:
        self.store = store
        self.plan = plan
        self.samples = tuple(samples)
        self.channels = None if channels is None else tuple(channels)
        last = plan.shape[-1:] if self.channels is None else (len(self.channels),)
        self.shape = (
            (len(self.samples), *plan.shape[1:-1], *last) if len(plan.shape) > 1 else (len(self.samples),)
        )
        self.dtype = plan.numpy_dtype
        self.ndim = len(self.shape)
        self._array: Any = None

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        """Read a selection of integers, slices and at most one list of positions."""
        keys = key if isinstance(key, tuple) else (key,)
        chosen: list[np.ndarray[Any, Any]] = []
        residue: list[Any] = []
        for axis, length in enumerate(self.shape):
            part = keys[axis] if axis < len(keys) else slice(None)
            positions = np.arange(length)[part]
            chosen.append(np.atleast_1d(positions))
            # What is left to numpy: drop the axis of an integer, keep a list's axis where it is.
            residue.append(_residue(part, positions))
        if any(len(positions) == 0 for positions in chosen):
            return np.empty([len(positions) for positions in chosen], self.dtype)[tuple(residue)]
        chosen[0] = np.asarray(self.samples)[chosen[0]]
        if self.channels is not None:
            chosen[-1] = np.asarray(self.channels)[chosen[-1]]
        index = tuple(map(_compact, chosen))
        try:
            if self._array is None:
                self._array = storage.open_array(self.store, self.plan)
            values = self._array.oindex[index].read().result()
        except (ValueError, OSError) as error:
            raise CacheError(
                f"unreadable data in {self.plan.path} of {self.store} ({error})",
                "what was recorded",
                "ditscope.cache.verify names every damaged chunk.",
            ) from error
        return values[tuple(residue)]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open handle, so that dask can send it to another process."""
        return {**self.__dict__, "_array": None}

    def to_dask(self, token: str) -> dask.array.Array:
        """As a dask array of one sample per chunk, and as many blocks and steps as make a good read.

        Args:
            token: what identifies the recording; equal selections of it get equal dask names.
        """
        plan = self.plan
        indexed = dict(zip(plan.dims[1 : 1 + plan.n_indexed], plan.shape[1:], strict=False))
        whole = self.shape[1 + plan.n_indexed :]
        unit = int(np.prod(whole, dtype=np.int64)) * self.dtype.itemsize
        chunks = (1, *span(indexed, unit, READ_BYTES).values(), *whole)
        name = f"{plan.path.replace('/', '-')}-{tokenize(token, plan.path, self.samples, self.channels)}"
        return dask.array.from_array(
            self,
            chunks=chunks,
            name=name,
            asarray=False,
            fancy=True,
            meta=np.empty((0,) * self.ndim, self.dtype),
        )


def _residue(part: Any, positions: np.ndarray[Any, Any]) -> Any:
    if isinstance(part, slice):
        return slice(None)
    return 0 if positions.ndim == 0 else np.arange(len(positions))


def _compact(positions: np.ndarray[Any, Any]) -> Any:
    """Positions as a slice where they are consecutive (the fast way to read), else as they are."""
    first, last = int(positions[0]), int(positions[-1])
    consecutive = last - first == len(positions) - 1 and bool((np.diff(positions) == 1).all())
    return slice(first, last + 1) if consecutive else positions
