"""Shards on their way to disk: filled cell by cell, written whole in the background, within a byte budget.

The budget counts every buffer from its first cell until its file is on disk, and sets aside one more
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


class ShardBuffer:
    """The values of one shard while its cells come in."""

    def __init__(self, plan: ArrayPlan, shard: tuple[int, ...]) -> None:
        self.plan = plan
        self.shard = shard
        self.values = np.empty(plan.region_shape(shard), plan.numpy_dtype)
        self.filled = np.zeros(self.values.shape[1 : 1 + plan.cell], dtype=bool)

    def cell(self, cell: tuple[int, ...]) -> tuple[int, ...]:
        """A cell's place in this buffer."""
        return tuple(i % s for i, s in zip(cell, self.plan.shard[1:], strict=False))

    def has(self, cell: tuple[int, ...]) -> bool:
        """Whether the cell was put before."""
        return bool(self.filled[self.cell(cell)])

    def put(self, cell: tuple[int, ...], values: np.ndarray[Any, Any]) -> None:
        """Copy a cell's values in; missing rows of a shorter first axis become the fill value."""
        inside = self.cell(cell)
        target = self.values[(0, *inside)]
        if target.ndim == 0:
            self.values[(0, *inside)] = values
        else:
            target[: len(values)] = values
            target[len(values) :] = self.plan.fill_value
        self.filled[inside] = True

    @property
    def complete(self) -> bool:
        """Whether every cell was put."""
        return bool(self.filled.all())

    def first_missing(self) -> tuple[int, ...]:
        """Position in the array of the first cell that was not put."""
        inside = np.argwhere(~np.atleast_1d(self.filled))[0][: self.plan.cell]
        starts = (part.start for part in self.plan.region(self.shard)[1:])
        return tuple(int(i) + start for i, start in zip(inside, starts, strict=False))


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
                        "Put the cells in execution order, or raise memory_budget.",
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
        self._under_way: dict[int, list[Future[None]]] = {}
        self._files: dict[int, dict[str, tuple[int, str]]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ditscope-writer")

    def submit(self, buffer: ShardBuffer) -> None:
        """Send a complete shard on its way."""
        sample = buffer.shard[0]
        self._budget.submitted()
        self._under_way.setdefault(sample, []).append(self._pool.submit(self._write, buffer))

    def wait(self, sample: int) -> dict[str, tuple[int, str]]:
        """Wait until a sample's shards are on disk; return their files' sizes and checksums."""
        for future in self._under_way.pop(sample, []):
            future.result()
        self.raise_failure()
        return self._files.pop(sample, {})

    def forget(self, sample: int) -> None:
        """Wait for a sample's shards, whatever became of them, and drop what is known of them."""
        for future in self._under_way.pop(sample, []):
            future.result()
        self._files.pop(sample, None)

    def raise_failure(self) -> None:
        """Raise, with its own type, what went wrong in the background."""
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Finish what is under way and end the threads."""
        self._pool.shutdown(wait=True)

    def _write(self, buffer: ShardBuffer) -> None:
        plan, shard = buffer.plan, buffer.shard
        name = plan.file_name(shard)
        try:
            # After a failure the rest of the queue is let go, so that no caller waits for it.
            if self.failure is None:
                storage.write_shard(self._arrays[plan.path], plan, shard, buffer.values)
                path = self._store / name
                record = (path.stat().st_size, storage.file_checksum(path))
                self._files.setdefault(shard[0], {})[name] = record
        except BaseException as error:
            error.add_note(
                f"while writing {name} of sample {shard[0]}: committed samples are safe; remove the cause "
                "and record again with the same configuration to go on"
            )
            self.failure = error
        finally:
            self._budget.release(plan.region_bytes(shard), pending=True)
