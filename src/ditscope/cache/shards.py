"""Shards on their way to disk: filled value by value, written whole in the background, within a byte budget.

The budget counts every buffer from its first value until its file is on disk, and sets aside one more
shard per thread for the copy that encoding makes. When it is used up, ``put`` waits for the disk. That is
the whole of the back pressure: memory stays bounded whatever the number of samples.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ditscope.cache import storage
from ditscope.cache.layout import ArrayPlan, readable_bytes
from ditscope.errors import InputError

FileRecord = tuple[int, str]
"""Bytes and SHA-256 of a file."""


class ShardBuffer:
    """The values of one shard while they come in."""

    def __init__(self, plan: ArrayPlan, shard: tuple[int, ...]) -> None:
        self.plan = plan
        self.shard = shard
        self.values = np.empty(plan.region_shape(shard), plan.numpy_dtype)
        self.filled = np.zeros(self.values.shape[1 : 1 + plan.n_indexed], dtype=bool)

    def has(self, index: tuple[int, ...]) -> bool:
        """Whether there is a value at an index of the array."""
        return bool(self.filled[self._inside(index)])

    def put(self, index: tuple[int, ...], values: np.ndarray[Any, Any]) -> None:
        """Copy values in; missing rows of a shorter first axis become the fill value."""
        inside = self._inside(index)
        target = self.values[(0, *inside)]
        if target.ndim == 0:
            self.values[(0, *inside)] = values
        else:
            target[: len(values)] = values
            target[len(values) :] = self.plan.fill_value
        self.filled[inside] = True

    @property
    def complete(self) -> bool:
        """Whether every value is there."""
        return bool(self.filled.all())

    def _inside(self, index: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i % s for i, s in zip(index, self.plan.shard[1:], strict=False))


class Budget:
    """Bytes of memory that buffers may take, shared by the caller and the writing threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.peak = 0
        self.pending = 0
        self._changed = threading.Condition()

    def acquire(self, size: int) -> None:
        """Take ``size`` bytes, waiting for shards under way to reach the disk.

        Raises:
            InputError: nothing is under way, so that waiting would never end.
        """
        with self._changed:
            while self.used + size > self.limit:
                if self.pending == 0:
                    raise InputError(
                        f"{readable_bytes(self.used)} of unfinished shards in memory and "
                        f"{readable_bytes(size)} more asked for",
                        f"at most {readable_bytes(self.limit)}",
                        "Put values in execution order, or raise memory_budget.",
                    )
                self._changed.wait()
            self.used += size
            self.peak = max(self.peak, self.used)

    def submitted(self) -> None:
        """Count a buffer as being on its way to disk."""
        with self._changed:
            self.pending += 1

    def release(self, size: int, *, pending: bool) -> None:
        """Give ``size`` bytes back."""
        with self._changed:
            self.used -= size
            self.pending -= pending
            self._changed.notify_all()


class ShardWriter:
    """Writes complete shards in the background, each once, and checksums the files.

    Args:
        store: folder of the store.
        plans: the arrays that shards will be of.
        budget: what buffers are taken from; each is given back when its file is on disk.
        threads: how many shards are written at once (TensorStore uses its own threads within each).
    """

    def __init__(self, store: Path, plans: Mapping[str, ArrayPlan], budget: Budget, threads: int) -> None:
        self.failure: BaseException | None = None
        self._store = store
        self._budget = budget
        self._arrays = {path: storage.open_array(store, plan, write=True) for path, plan in plans.items()}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ditscope-writer")

    def submit(self, buffer: ShardBuffer) -> Future[FileRecord | None]:
        """Send a complete shard on its way; the future has its file's size and checksum, or None on failure."""
        self._budget.submitted()
        return self._pool.submit(self._write, buffer)

    def raise_failure(self) -> None:
        """Raise, with its own type, what went wrong in the background."""
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Finish what is under way and end the threads."""
        self._pool.shutdown(wait=True)

    def _write(self, buffer: ShardBuffer) -> FileRecord | None:
        plan, shard = buffer.plan, buffer.shard
        name = plan.file_name(shard)
        try:
            # After a failure the rest of the queue is let go, so that no caller waits for it.
            if self.failure is None:
                storage.write_shard(self._arrays[plan.path], plan, shard, buffer.values)
                path = self._store / name
                return path.stat().st_size, storage.file_checksum(path)
        except BaseException as error:
            error.add_note(
                f"while writing {name} of sample {shard[0]}: committed samples are safe; remove the cause "
                "and record again with the same configuration to go on"
            )
            self.failure = error
        finally:
            self._budget.release(buffer.values.nbytes, pending=True)
        return None
