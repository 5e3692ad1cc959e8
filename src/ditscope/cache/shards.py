"""Files on their way to disk: filled value by value, written whole in the background, within a byte budget.

The budget counts every buffer from its first value until its file is written, and those that are kept to be filled
again, since memory that the system hands out anew costs more than the copy into it. When it is used up, ``put`` waits
for files to be written. That is the whole of the back pressure: memory stays bounded whatever the number of samples.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ditscope.cache import files, shard_encoding
from ditscope.cache.extremes import Extremes, extremes
from ditscope.cache.layout import ArrayPlan, Index, readable_bytes
from ditscope.cache.page_cache import aligned
from ditscope.cache.shard_encoding import Copy, file_form
from ditscope.errors import InputError

_SMALL = 2**20
"""Bytes before compression below which a file is not synced as it is written, but with all of its sample."""

_ENOUGH = 96 * 2**20
"""Bytes of buffers with which a disk that keeps up is busy all the time."""

_A_MOMENT = 0.02
"""Seconds that another buffer's new memory takes, roughly."""

_SYNCS = 16
"""Files and folders that are synced at once."""

SAFE = "committed samples are safe; remove the cause and record again with the same configuration to go on"
"""What a failure means for the store."""


@dataclass(frozen=True)
class WrittenFile:
    """What is known of a file that is on disk.

    Attributes:
        nbytes: its size.
        checksums: uint32 ``[chunk]``, the CRC-32C of each of its chunks.
        extremes: NaN, infinite and saturated values in it, where they were asked for.
    """

    nbytes: int
    checksums: np.ndarray[Any, Any]
    extremes: tuple[Extremes, ...] = ()


class Spent:
    """Seconds that went to each stage of writing, summed over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """Count the time inside the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Count time that was taken elsewhere."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class Buffers:
    """Memory for files, of at most ``limit`` bytes, shared by the caller and the writing threads.

    Args:
        limit: bytes.
        least: of which files need so many, whatever else is counted.
    """

    def __init__(self, limit: int, least: int = 0) -> None:
        self.limit = limit
        self._spare = limit - least
        self.used = 0
        self.peak = 0
        self._pending: Counter[int] = Counter()  # by size
        self._free: dict[int, list[np.ndarray[Any, Any]]] = {}
        self._changed = threading.Condition()

    def take(self, size: int) -> np.ndarray[Any, Any]:
        """A buffer of uint8 ``[size]``, with anything in it; waits for files under way to be written.

        Raises:
            InputError: nothing is under way, so that waiting would never end.
        """
        with self._changed:
            # A large one that is about to be free is had sooner than memory that the system hands out anew.
            if self.used > _ENOUGH and size >= _SMALL:
                self._changed.wait_for(lambda: self._free.get(size) or not self._pending[size], _A_MOMENT)
            while True:
                if kept := self._free.get(size):
                    return kept.pop()
                if self.used + size > self.limit:
                    self._free_others()
                if self.used + size <= self.limit:
                    self.used += size
                    self.peak = max(self.peak, self.used)
                    return aligned(size)
                if not self._pending.total():
                    raise InputError(
                        f"{readable_bytes(self.used)} of unfinished files in memory and "
                        f"{readable_bytes(size)} more asked for",
                        f"at most {readable_bytes(self.limit)}",
                        "Put values in execution order, raise memory_budget, or lower shard_bytes.",
                    )
                self._changed.wait()

    def reserve(self, size: int, *, wait: bool = False) -> bool:
        """Count other memory of a recording too, if that leaves files what they need, and there is room.

        Args:
            size: bytes.
            wait: for files under way, if there is no room now.
        """
        with self._changed:
            if size > self._spare:
                return False
            while self.used + size > self.limit:
                self._free_others()
                if self.used + size > self.limit:
                    if not (wait and self._pending.total()):
                        return False
                    self._changed.wait()
            self._spare -= size
            self.used += size
            self.peak = max(self.peak, self.used)
            return True

    def release(self, size: int) -> None:
        """Count it no more."""
        with self._changed:
            self._spare += size
            self.used -= size
            self._changed.notify_all()

    def submitted(self, buffer: np.ndarray[Any, Any]) -> None:
        """Count a buffer as being on its way to disk."""
        with self._changed:
            self._pending[len(buffer)] += 1

    def give_back(self, buffer: np.ndarray[Any, Any], *, pending: bool) -> None:
        """Let a buffer be filled again."""
        with self._changed:
            self._free.setdefault(len(buffer), []).append(buffer)
            self._pending[len(buffer)] -= pending
            self._changed.notify_all()

    def _free_others(self) -> None:
        self.used -= sum(size * len(kept) for size, kept in self._free.items())
        self._free.clear()


class FileBuffer:
    """The values of one file while they come in."""

    def __init__(self, plan: ArrayPlan, sample: int, shard: tuple[int, ...], buffers: Buffers) -> None:
        self.plan, self.sample, self.shard = plan, sample, shard
        self.form = file_form(plan, shard)
        self.data = buffers.take(self.form.nbytes)
        self._values = self.form.values(self.data)
        self._fill = np.array(plan.fill_value, plan.numpy_dtype).view(self.form.dtype)
        self._filled = np.zeros(plan.region_shape(shard)[: plan.n_indexed], dtype=bool)
        self._missing = self._filled.size
        if self._missing < math.prod(self._values.shape[: 2 * plan.n_indexed]):
            self._values[...] = self._fill  # at the array's edge chunks reach past the last index

    def has(self, index: Index) -> bool:
        """Whether there is a value at an index of the array, or at any of a run."""
        return bool(self._filled[self._inside(index)].any())

    def put(self, index: Index, values: np.ndarray[Any, Any], copy: Copy) -> None:
        """Copy in the values at an index, or ``[run, ...]`` of a run in one piece (:meth:`ArrayPlan.in_one_piece`).

        A shorter axis is padded with the fill value.
        """
        inside = self._inside(index)
        places = [part for i, c in zip(inside, self.plan.chunk, strict=False) for part in _in_chunks(i, c)]
        target = self._values[tuple(places)]
        shard_encoding.place(target, values.view(self.form.dtype), self._fill, copy)
        self._filled[inside] = True
        self._missing -= self._filled[inside].size

    @property
    def complete(self) -> bool:
        """Whether every value is there."""
        return self._missing == 0

    def _inside(self, index: Index) -> Index:
        return tuple([_within(i, s) for i, s in zip(index, self.plan.shard, strict=False)])


def _within(i: int | slice, length: int) -> int | slice:
    """A position, or a run of them, counted from where its file or chunk of a length begins."""
    if isinstance(i, slice):
        before = i.start - i.start % length
        return slice(i.start - before, i.stop - before)
    return i % length


def _in_chunks(i: int | slice, length: int) -> tuple[int | slice, int | slice]:
    """Which chunks of a length a position or run is in, and where there: a run in one, or in chunks of one each."""
    if not isinstance(i, slice):
        return divmod(i, length)
    if length == 1:
        return i, slice(0, 1)
    return slice(i.start // length, i.start // length + 1), _within(i, length)


class ShardWriter:
    """Writes complete files in the background, each once.

    Args:
        store: folder of the store.
        buffers: where buffers come from; each goes back when its file's bytes are written, and are to be synced.
        threads: how many files are written at once.
        spent: where time is counted.
        counted: paths of arrays in whose files extreme values are counted.
    """

    def __init__(
        self, store: Path, buffers: Buffers, threads: int, spent: Spent, counted: Collection[str] = ()
    ) -> None:
        self.failure: BaseException | None = None
        self._counted = counted
        self._store, self._buffers, self._spent = store, buffers, spent
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ditscope-writer")
        self._syncs = ThreadPoolExecutor(_SYNCS, thread_name_prefix="ditscope-sync")
        self._not_synced: dict[int, list[Path]] = {}

    def submit(self, buffer: FileBuffer) -> Future[WrittenFile | None]:
        """Send a complete file on its way; the future has its size and checksums, or None on failure."""
        self._buffers.submitted(buffer.data)
        done: Future[WrittenFile | None] = Future()
        self._pool.submit(self._write, buffer, done)
        return done

    def sync(self, samples: Collection[int], folders: Sequence[Path]) -> None:
        """Make all of some samples durable: their small files, and the names in the folders that files are in.

        Several at once: the file system joins them into few commits.
        """
        paths = [path for sample in samples for path in self._not_synced.get(sample, ())]
        small = self._syncs.map(files.sync, paths)
        names = self._syncs.map(files.sync_folder, folders)
        list(itertools.chain(small, names))  # raises what went wrong
        for sample in samples:
            self._not_synced.pop(sample, None)

    def raise_failure(self) -> None:
        """Raise, with its own type, what went wrong in the background."""
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Finish what is under way and end the threads."""
        self._pool.shutdown(wait=True)
        self._syncs.shutdown(wait=True)

    def _write(self, buffer: FileBuffer, done: Future[WrittenFile | None]) -> None:
        name, sample = buffer.plan.file_name(buffer.sample, buffer.shard), buffer.sample
        path, is_small = self._store / name, buffer.form.nbytes < _SMALL
        written = None
        try:
            # After a failure the rest of the queue is let go, so that no caller waits for it.
            if self.failure is None:
                written = self._written(buffer, path)
        except BaseException as error:
            self._fail(error, name, sample)
        finally:
            self._buffers.give_back(buffer.data, pending=True)
            if written is None or is_small:
                if written is not None:
                    self._not_synced.setdefault(sample, []).append(path)
                done.set_result(written)
            else:
                self._syncs.submit(self._sync, name, sample, written, done)

    def _sync(self, name: str, sample: int, written: WrittenFile, done: Future[WrittenFile | None]) -> None:
        """Make a file's bytes durable while others are written."""
        synced = None
        try:
            with self._spent.on("write and sync"):
                files.sync(self._store / name)
            synced = written
        except BaseException as error:
            self._fail(error, name, sample)
        finally:
            done.set_result(synced)

    def _fail(self, error: BaseException, name: str, sample: int) -> None:
        error.add_note(f"while writing {name} of sample {sample}: {SAFE}")
        self.failure = error
        with contextlib.suppress(OSError):  # leave the room to others where the disk is full
            files.remove(self._store / name)

    def _written(self, buffer: FileBuffer, path: Path) -> WrittenFile:
        """What is known of a complete file, once the system has its bytes."""
        plan, form = buffer.plan, buffer.form
        found: list[Extremes | None] = []

        def look(number: int) -> None:
            if plan.path in self._counted:
                found.append(extremes(plan, buffer.shard, form, buffer.data, number))

        with self._spent.on("encode"):
            if plan.compression is None:
                checksums = form.set_checksums(buffer.data, look)
                tail = np.frombuffer(form.plain_index, np.uint8)
                buffer.data[len(buffer.data) - len(tail) :] = tail
                data: Any = buffer.data
            else:
                checksums = np.empty(form.n_chunks, "<u4")
                for number in range(form.n_chunks):
                    look(number)
                data = self._apart(shard_encoding.compressed(form, buffer.data, checksums))
        with self._spent.on("write and sync"):
            nbytes = files.write_new(path, data, durable=False, cached=form.nbytes < _SMALL)
        return WrittenFile(nbytes, checksums, tuple(each for each in found if each is not None))

    def _apart(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Parts that are made while a file is written, whose time is counted apart."""
        while True:
            start = time.perf_counter()
            part = next(parts, None)
            taken = time.perf_counter() - start
            self._spent.add("encode", taken)
            self._spent.add("write and sync", -taken)
            if part is None:
                return
            yield part
