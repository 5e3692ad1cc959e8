"""A stored array as dask sees it: sliced lazily, read through TensorStore.

dask fuses integer and slice selections into the read, so ``.sel(block=5, step=0)`` reads one block's
chunks. It does not fuse lists of channels; those go in up front, as ``channels``.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
from dask.base import tokenize

from ditscope.cache import storage
from ditscope.cache.layout import ArrayPlan, span
from ditscope.errors import CacheError

READ_BYTES = 16 * 2**20
"""Byte target of one dask chunk."""


class StoredArray:
    """Selected samples (and channels) of a stored array, with numpy's slicing.

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
        """Read a selection made of integers and slices."""
        keys = key if isinstance(key, tuple) else (key,)
        bounds: list[slice] = []
        residue: list[Any] = []
        for axis, length in enumerate(self.shape):
            part = keys[axis] if axis < len(keys) else slice(None)
            if isinstance(part, slice):
                chosen = range(length)[part]
                bounds.append(slice(min(chosen), max(chosen) + 1) if len(chosen) else slice(0, 0))
                residue.append(slice(None, None, chosen.step))
            else:
                position = range(length)[operator.index(part)]
                bounds.append(slice(position, position + 1))
                residue.append(0)
        if any(part.start == part.stop for part in bounds):
            return np.empty([part.stop - part.start for part in bounds], self.dtype)[tuple(residue)]
        index: list[Any] = [_compact(self.samples[bounds[0]]), *bounds[1:]]
        if self.channels is not None:
            index[-1] = _compact(self.channels[bounds[-1]])
        try:
            if self._array is None:
                self._array = storage.open_array(self.store, self.plan)
            values = self._array.oindex[tuple(index)].read().result()
        except (ValueError, OSError) as error:
            raise CacheError(
                f"found unreadable data in {self.plan.path} of {self.store} ({error}); expected what was "
                f"recorded. ditscope.cache.verify names every damaged chunk."
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
        cells = dict(zip(plan.dims[1 : 1 + plan.cell], plan.shape[1:], strict=False))
        payload = self.shape[1 + plan.cell :]
        unit = int(np.prod(payload, dtype=np.int64)) * self.dtype.itemsize
        reach = span(cells, unit, READ_BYTES)
        chunks = (1, *(reach[dim] for dim in cells), *payload)
        name = f"{plan.path.replace('/', '-')}-{tokenize(token, plan.path, self.samples, self.channels)}"
        return dask.array.from_array(
            self,
            chunks=chunks,
            name=name,
            asarray=False,
            fancy=False,
            meta=np.empty((0,) * self.ndim, self.dtype),
        )


def _compact(positions: Sequence[int]) -> Any:
    """Positions as a slice where they are consecutive (the fast way to read), else as an array."""
    first, last = positions[0], positions[-1]
    return (
        slice(first, last + 1) if tuple(range(first, last + 1)) == tuple(positions) else np.asarray(positions)
    )
