"""Copies from a GPU to the host beside the model's work: on a stream of their own, into pinned memory.

As soon as the model's stream has come past a block, what was read there is reduced and copied on another stream, while
the model computes the next blocks; once that is done the host takes it. The host waits only where too much is on the
device. On a CPU there is nothing to wait for, and all is done at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ditscope.cache.shards import Buffers, Spent
from ditscope.recording.transfer import most_gathered, to_host
from ditscope.vocabulary import READ_STATISTICS

if TYPE_CHECKING:
    from ditscope.cache.schema import Schema

QUEUED_BYTES = 256 * 2**20
"""Bytes that may be on a device: 10 hidden states of FLUX.1-dev's image stream at 1024 x 1024 pixels."""

_AT_ONCE = 2
"""Copies under way: one that the device makes while the host takes another."""

_ALIGNED = 64

Arrays = Mapping[str, np.ndarray[Any, Any]]
Reduce = Callable[[torch.Tensor], dict[str, torch.Tensor]]
"""What is kept of hidden states, by name, on their device."""


def pinned(size: int) -> torch.Tensor | None:
    """Page-locked memory, uint8 ``[size]``; None where there is none to be had."""
    try:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)
    except RuntimeError:
        return None


class PinnedMemory:
    """Pinned buffers that are filled again, within the memory budget of a recording.

    Args:
        buffers: the budget, in which they are counted.
        allocate: makes a buffer of a size, or None.
    """

    def __init__(self, buffers: Buffers, allocate: Callable[[int], torch.Tensor | None] = pinned) -> None:
        self._buffers, self._allocate = buffers, allocate
        self._free: dict[int, list[torch.Tensor]] = {}
        self._reserved = 0

    def take(self, size: int) -> torch.Tensor | None:
        """A buffer of at least ``size`` bytes, with anything in it; None if there is no room, or no such memory."""
        size = 1 << (size - 1).bit_length()  # which is what torch takes of the system
        if kept := self._free.get(size):
            return kept.pop()
        if not self._buffers.reserve(size):
            return None
        buffer = self._allocate(size)
        if buffer is None:
            self._buffers.release(size)
        else:
            self._reserved += size
        return buffer

    def give_back(self, buffer: torch.Tensor) -> None:
        """Let a buffer be filled again."""
        self._free.setdefault(len(buffer), []).append(buffer)

    def close(self) -> None:
        """Let go of all that was given back."""
        self._free.clear()
        self._buffers.release(self._reserved)
        self._reserved = 0


@dataclass
class _Copy:
    """One on its way: what is copied, from when on it is there, and what arrives when."""

    hidden: torch.Tensor
    reduce: Reduce
    store: Callable[[Arrays], None]
    read: torch.cuda.Event
    buffer: torch.Tensor | None = None
    counted: int = 0
    arrived: dict[str, torch.Tensor] = field(default_factory=dict)
    times: list[torch.cuda.Event] = field(default_factory=list)


class DeviceCopies:
    """What is read of a run, reduced and taken to the host, in the order in which it is read.

    Args:
        buffers: the memory budget of the recording.
        time: where the time on the device is counted, as ``statistics`` and ``device to host``.
    """

    def __init__(self, buffers: Buffers, time: Spent) -> None:
        self._time, self._buffers, self._pinned = time, buffers, PinnedMemory(buffers)
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._waiting: deque[_Copy] = deque()
        self._under_way: deque[_Copy] = deque()
        self._queued = 0

    def add(self, hidden: torch.Tensor, reduce: Reduce, store: Callable[[Arrays], None]) -> None:
        """Take a tensor to the host, now or later; on a GPU nobody may write into it any more.

        Args:
            hidden: the tensor.
            reduce: what is to be kept of it, without a wait for the device.
            store: is given that as arrays, which it has to copy.
        """
        if hidden.device.type != "cuda":
            with self._time.on("statistics"):
                kept = reduce(hidden)
            store({name: to_host(tensor) for name, tensor in kept.items()})
            return
        read = torch.cuda.current_stream(hidden.device).record_event()
        self._waiting.append(_Copy(hidden, reduce, store, read))
        self._queued += hidden.nbytes
        self._advance(QUEUED_BYTES)

    def finish(self) -> None:
        """Wait until all is stored."""
        self._advance(-1)
        self._pinned.close()

    def _advance(self, most: int) -> None:
        """Go on with what can go on, and wait until at most ``most`` bytes are on the device."""
        while self._waiting or self._under_way:
            if self._waiting and len(self._under_way) < _AT_ONCE:
                self._start()
            elif self._queued > most or self._under_way[0].times[-1].query():
                self._store()
            else:
                return

    def _start(self) -> None:
        copy = self._waiting.popleft()
        device = copy.hidden.device
        if device not in self._streams:
            # Its few kernels go before those of the model, whose stream is never empty for long.
            self._streams[device] = torch.cuda.Stream(device, priority=-1)
        stream = self._streams[device]
        stream.wait_event(copy.read)
        with torch.cuda.stream(stream):
            copy.times.append(mark(stream))
            kept = copy.reduce(copy.hidden)
            copy.times.append(mark(stream))
        self._take_room(copy, sum(_room(tensor) for tensor in kept.values()))
        with torch.cuda.stream(stream):
            at = 0
            for name, tensor in kept.items():
                if copy.buffer is None:
                    copy.arrived[name] = tensor.cpu()
                    continue
                place = copy.buffer[at : at + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
                copy.arrived[name] = place.copy_(tensor, non_blocking=True)
                at += _room(tensor)
            copy.times.append(mark(stream))
        self._under_way.append(copy)

    def _take_room(self, copy: _Copy, size: int) -> None:
        """Memory for what is copied: pinned, or what the system gives for this one, once no other is under way."""
        copy.buffer = self._pinned.take(size)
        if copy.buffer is None:
            while self._under_way:
                self._store()
            if not self._buffers.reserve(size, wait=True):
                self._pinned.close()  # of other sizes, which nobody fills now
                if not self._buffers.reserve(size, wait=True):
                    return  # in memory of a capture, which has no more room
            copy.counted = size

    def _store(self) -> None:
        copy = self._under_way.popleft()
        begun, reduced, arrived = copy.times
        arrived.synchronize()
        self._time.add("statistics", begun.elapsed_time(reduced) / 1e3)
        self._time.add("device to host", reduced.elapsed_time(arrived) / 1e3)
        copy.store({name: to_host(tensor) for name, tensor in copy.arrived.items()})
        self._queued -= copy.hidden.nbytes
        if copy.buffer is not None:
            self._pinned.give_back(copy.buffer)
        if copy.counted:
            self._buffers.release(copy.counted)


def most_copied_at_once(schema: Schema, device: torch.device) -> int:
    """Bytes on the host that the largest copy of a recording takes, for which there must be room beside its files."""
    if device.type != "cuda":
        return 0
    itemsize = 4 if schema.dtype == "float32" else 2
    n_rows, n_channels = schema.batch_size * len(schema.branches), len(schema.channels)
    sizes = [0]
    for site in schema.sites:
        n_tokens = schema.stream(site.stream).tokens if site.has_tokens else 1
        read = n_rows * n_tokens * n_channels * (itemsize if site.has_tokens else 4)
        together = min(len(site.blocks), most_gathered(read))
        kept = read if schema.tensors or not site.has_tokens else 0
        reduced = n_rows * n_channels * len(READ_STATISTICS) * 4 if schema.stats and site.has_tokens else 0
        sizes.append(together * (kept + reduced) + 2 * _ALIGNED)
    if (run := schema.trajectory) is not None:
        sizes.append(n_rows * run.tokens * run.channels * itemsize + _ALIGNED)
    return max(sizes)


def mark(stream: torch.cuda.Stream) -> torch.cuda.Event:
    """A point in time on a stream."""
    event = torch.cuda.Event(enable_timing=True)
    event.record(stream)
    return event


def _room(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's place in a buffer: the next one begins where any dtype may."""
    return -(-tensor.nbytes // _ALIGNED) * _ALIGNED
