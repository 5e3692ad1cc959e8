"""The way from the blocks to the host that whatever is read in them takes.

A transfer waits for the device, and each operation has its price, however small the tensor. So what is read at one
site waits until the visit ends, as far as there is room for it, and is then reduced and moved together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import torch


def to_host(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A tensor as a numpy array on the CPU, bit for bit; bfloat16 becomes ``ml_dtypes.bfloat16``."""
    values = tensor.detach().contiguous().cpu()
    if values.dtype == torch.bfloat16:
        return values.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return values.numpy()


def from_host(values: np.ndarray[Any, Any]) -> torch.Tensor:
    """The tensor that :func:`to_host` made an array of."""
    if values.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(values.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(values.copy())


_SMALL = 2**15
"""Bytes of statistics and the like."""


def copy_values(target: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> None:
    """Copy an array's values, of one to four bytes each, into another's place, on all of torch's threads.

    Into the chunks of a file, 64 bytes at a time, it copies two to three times as fast as ``numpy.copyto``; what is
    small is copied before torch has begun.
    """
    if target.nbytes < _SMALL:
        np.copyto(target, source)
        return
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[target.dtype.itemsize]
    into, out_of = (
        torch.from_numpy(array.view(str(kind).removeprefix("torch."))) for array in (target, source)
    )
    into.copy_(out_of)


GATHERED_BYTES = 32 * 2**20
"""Bytes that may wait on a device: of tensors so large that four of them fill it, none gains by waiting."""

GATHERED_BYTES_ON_CPU = 2 * 2**20
"""On the CPU there is nothing to move: what is large gains nothing by waiting, and is not copied."""

_FEWEST = 4
"""Tensors for which there must be room, if they are to wait."""


def most_gathered(nbytes: int) -> int:
    """How many tensors of a size are handled together at most, on a device that is waited for."""
    return 1 if nbytes * _FEWEST > GATHERED_BYTES else GATHERED_BYTES // nbytes + 1


def waits_for_device(tensor: torch.Tensor) -> bool:
    """Whether moving a tensor to the host waits for the device; on the CPU there is nothing to move."""
    return tensor.device.type != "cpu"


def own_values(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's values, for as long as its device takes to move them: the model goes on to write into its own.

    On the CPU they are used before the model goes on, and are the tensor's own.
    """
    values = tensor.detach()
    return values.clone(memory_format=torch.contiguous_format) if waits_for_device(values) else values


Gathered = tuple[Any, tuple[Any, ...], torch.Tensor]
"""A kind, labels, and the tensors of that kind with these labels, one upon another."""


class Gathering:
    """Tensors that are handled together, by their kind, before the model goes on or after it did.

    On the CPU what is handed on is handled at once, and its memory filled again.

    Args:
        limit: bytes that may wait; by default :data:`GATHERED_BYTES`, or :data:`GATHERED_BYTES_ON_CPU`.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit, self._size = limit, 0
        self._waiting: dict[Hashable, list[tuple[Any, torch.Tensor]]] = {}
        self._rooms: dict[Hashable, torch.Tensor] = {}

    def add(self, kind: Hashable, label: Any, tensor: torch.Tensor) -> Iterator[Gathered]:
        """Take a tensor of the model's, which goes on to write into it; those of one kind have one shape.

        Yields:
            (kind, labels, tensors) of what is to be handled now, for want of room or because it gains nothing by
            waiting; on the CPU that may be the model's own tensor.
        """
        waits = waits_for_device(tensor)
        limit = self._limit or (GATHERED_BYTES if waits else GATHERED_BYTES_ON_CPU)
        if tensor.nbytes * _FEWEST > limit:
            yield kind, (label,), own_values(tensor)[None]
            return
        waiting, own = self._waiting.setdefault(kind, []), tensor.detach()
        if waits:
            own = own.clone()
        else:
            own = self._room(kind, own, limit, first=not waiting)[len(waiting)].copy_(own)
        waiting.append((label, own))
        self._size += tensor.nbytes
        if self._size > limit:
            yield from self.gathered()

    def gathered(self) -> Iterator[Gathered]:
        """(kind, labels, tensors) of all that waits; nothing waits after it."""
        waiting, self._waiting, self._size = self._waiting, {}, 0
        for kind, labelled in waiting.items():
            labels, tensors = zip(*labelled, strict=True)
            if any(map(waits_for_device, tensors)):
                # Blocks may be spread over several devices.
                yield kind, labels, torch.stack([tensor.to(tensors[0].device) for tensor in tensors])
            else:
                yield kind, labels, self._rooms[kind][: len(labels)]

    def _room(self, kind: Hashable, tensor: torch.Tensor, limit: int, *, first: bool) -> torch.Tensor:
        """Where tensors of a kind wait: as many as go beyond the limit; no memory is taken before they are there."""
        room = self._rooms.get(kind)
        fits = room is not None and room.shape[1:] == tensor.shape and room.dtype == tensor.dtype
        assert fits or first, f"tensors of two shapes as {kind}"
        if room is None or not fits:
            room = self._rooms[kind] = tensor.new_empty((limit // tensor.nbytes + 1, *tensor.shape))
        return room
