"""One sample on its way into a store: which of its shards are being filled, and which are sent to disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np

from ditscope.cache.labels import region_labels
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.schema import Schema
from ditscope.cache.shards import Budget, FileRecord, ShardBuffer, ShardWriter
from ditscope.errors import CacheError


class SampleInProgress:
    """A sample whose values come in; a shard is sent to disk as soon as it is complete.

    Args:
        sample: position of the sample.
        schema: of the store.
        plans: every array of the store, by path.
        budget: what buffers are taken from.
        shards: writes complete shards.

    Attributes:
        nonfinite: ``stream/site`` -> number of NaN and infinite values so far.
        saturated: ``stream/site`` -> block -> channel -> number of values at the dtype's limit so far.
    """

    def __init__(
        self,
        sample: int,
        schema: Schema,
        plans: Mapping[str, ArrayPlan],
        budget: Budget,
        shards: ShardWriter,
    ) -> None:
        self.nonfinite: dict[str, int] = {}
        self.saturated: dict[str, dict[int, dict[int, int]]] = {}
        self._sample, self._schema, self._plans = sample, schema, plans
        self._budget, self._shards = budget, shards
        self._filling: dict[str, ShardBuffer] = {}
        self._sent: dict[str, Future[FileRecord | None]] = {}

    def put(self, plan: ArrayPlan, index: tuple[int, ...], values: np.ndarray[Any, Any]) -> None:
        """Copy in the values at an index of an array.

        Raises:
            CacheError: there is a value already.
        """
        shard = plan.shard_of(self._sample, index)
        name = plan.file_name(shard)
        buffer = self._filling.get(name)
        if name in self._sent or (buffer is not None and buffer.has(index)):
            raise CacheError(f"a second value for {self._where(plan, index)}", "one", "Put each value once.")
        if buffer is None:
            self._budget.acquire(plan.region_bytes(shard))
            buffer = self._filling[name] = ShardBuffer(plan, shard)
        buffer.put(index, values)
        if buffer.complete:
            del self._filling[name]
            self._sent[name] = self._shards.submit(buffer)

    def count_nonfinite(self, stream_and_site: str, count: int) -> None:
        """Add to the number of NaN and infinite values at ``stream/site``."""
        if count:
            self.nonfinite[stream_and_site] = self.nonfinite.get(stream_and_site, 0) + count

    def count_saturated(self, stream_and_site: str, block: int, counts: np.ndarray[Any, Any]) -> None:
        """Add to the numbers of values at the dtype's limit, ``[channel]``, of a block at ``stream/site``."""
        for position in np.flatnonzero(counts):
            channel = self._schema.channels[position]
            by_channel = self.saturated.setdefault(stream_and_site, {}).setdefault(block, {})
            by_channel[channel] = by_channel.get(channel, 0) + int(counts[position])

    def finish(self) -> dict[str, FileRecord]:
        """Wait until every file is on disk; return size and checksum of each, by name.

        Raises:
            CacheError: a value is missing; the message names the first one.
            Exception: what went wrong in the background, with its own type.
        """
        missing = next(self._missing(), None)
        if missing is not None:
            raise CacheError(
                f"no value for {self._where(*missing)}",
                "every value before commit",
                "Put what is missing, or discard the sample.",
            )
        records = {name: future.result() for name, future in self._sent.items()}
        self._shards.raise_failure()
        return {name: record for name, record in records.items() if record is not None}

    def drop(self) -> None:
        """Give the memory of unfinished shards back, and wait for those that were sent."""
        for buffer in self._filling.values():
            self._budget.release(buffer.values.nbytes, pending=False)
        for future in self._sent.values():
            future.result()

    def _missing(self) -> Iterator[tuple[ArrayPlan, tuple[int, ...]]]:
        for plan in self._plans.values():
            for shard in plan.shards(self._sample):
                name = plan.file_name(shard)
                if name in self._sent:
                    continue
                buffer = self._filling.get(name)
                parts = plan.region(shard)[1 : 1 + plan.n_indexed]
                for index in itertools.product(*(range(part.start, part.stop) for part in parts)):
                    if buffer is None or not buffer.has(index):
                        yield plan, index

    def _where(self, plan: ArrayPlan, index: tuple[int, ...]) -> str:
        part = [slice(position, position + 1) for position in (self._sample, *index)]
        whole = [slice(0, length) for length in plan.shape[len(part) :]]
        labels = region_labels(plan, self._schema, (*part, *whole))
        named = (f"{dim} {labels[dim]}" for dim in plan.dims[: len(part)])
        return f"{plan.path} at {', '.join(named)}"
