"""One sample on its way into a store: which of its files are being filled, and which are sent to disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np

from ditscope.cache.labels import region_labels
from ditscope.cache.layout import ArrayPlan, Index, indices_of
from ditscope.cache.sample_ledger import StoredFiles
from ditscope.cache.schema import Schema
from ditscope.cache.shard_encoding import Copy
from ditscope.cache.shards import Buffers, FileBuffer, ShardWriter, WrittenFile
from ditscope.errors import CacheError

_Key = tuple[str, tuple[int, ...]]


class SampleInProgress:
    """A sample whose values come in; a file is sent to disk as soon as it is complete.

    Args:
        sample: position of the sample.
        schema: of the store.
        plans: every array of the store, by path.
        buffers: where memory comes from.
        shards: writes complete files.
        copy: how values are copied.

    Attributes:
        nonfinite: ``stream/site`` -> number of NaN and infinite values so far.
        saturated: ``stream/site`` -> block -> channel -> number of values at the dtype's limit so far.
    """

    def __init__(
        self,
        sample: int,
        schema: Schema,
        plans: Mapping[str, ArrayPlan],
        buffers: Buffers,
        shards: ShardWriter,
        copy: Copy,
    ) -> None:
        self.nonfinite: dict[str, int] = {}
        self.saturated: dict[str, dict[int, dict[int, int]]] = {}
        self._sample, self._schema, self._plans = sample, schema, plans
        self._buffers, self._shards, self._copy = buffers, shards, copy
        self._filling: dict[_Key, FileBuffer] = {}
        self._sent: dict[_Key, Future[WrittenFile | None]] = {}
        self._stored: dict[str, StoredFiles] = {}

    def put(self, plan: ArrayPlan, index: Index, values: np.ndarray[Any, Any]) -> None:
        """Copy in the values at an index of an array, or those of a run, ``[run, ...]``.

        Raises:
            CacheError: there is a value already.
        """
        for part, own in plan.in_one_piece(index):
            key = plan.path, plan.shard_of(part)
            buffer = self._filling.get(key)
            if key in self._sent or (buffer is not None and buffer.has(part)):
                first = next(each for each in indices_of(part) if buffer is None or buffer.has(each))
                raise CacheError(
                    f"a second value for {self._where(plan, first)}", "one", "Put each value once."
                )
            if buffer is None:
                buffer = self._filling[key] = FileBuffer(plan, self._sample, key[1], self._buffers)
            buffer.put(part, values[own], self._copy)
            if buffer.complete:
                del self._filling[key]
                self._sent[key] = self._shards.submit(buffer)

    def count_nonfinite(self, stream_and_site: str, count: int) -> None:
        """Add to the number of NaN and infinite values at ``stream/site``."""
        if count:
            self.nonfinite[stream_and_site] = self.nonfinite.get(stream_and_site, 0) + count

    def count_saturated(
        self, stream_and_site: str, block: int, counts: np.ndarray[Any, Any], first: int = 0
    ) -> None:
        """Add to the numbers of values at the dtype's limit, ``[channel]`` from position ``first`` on, of a block."""
        for position in np.flatnonzero(counts):
            channel = self._schema.channels[first + position]
            by_channel = self.saturated.setdefault(stream_and_site, {}).setdefault(block, {})
            by_channel[channel] = by_channel.get(channel, 0) + int(counts[position])

    def finish(self) -> dict[str, StoredFiles]:
        """Wait until every file is on disk; return what each array has, by path. To be called again after a failure.

        Raises:
            CacheError: a value is missing; the message names the first one.
            Exception: what went wrong in the background, with its own type.
        """
        if self._stored:  # what is in the files is counted once
            return self._stored
        missing = next(self._missing(), None)
        if missing is not None:
            raise CacheError(
                f"no value for {self._where(*missing)}",
                "every value before commit",
                "Put what is missing, or discard the sample.",
            )
        written = {key: future.result() for key, future in self._sent.items()}
        self._shards.raise_failure()
        stored = {}
        for path, plan in self._plans.items():
            own = [file for shard in plan.shards if (file := written[path, shard]) is not None]
            sizes = tuple(file.nbytes for file in own)
            checksums = np.concatenate([file.checksums for file in own])
            stored[path] = StoredFiles(checksums, None if plan.compression is None else sizes)
            site = next((site for site in self._schema.sites if path.startswith(f"{site.folder}/")), None)
            for found in (found for file in own for found in file.extremes):
                assert site is not None, "extremes are counted in hidden states alone"
                self.count_nonfinite(site.folder, found.nonfinite)
                self.count_saturated(
                    site.folder, site.blocks[found.block], found.saturated, found.first_channel
                )
        self._stored = stored
        return stored

    def drop(self) -> None:
        """Give the memory of unfinished files back, and wait for those that were sent."""
        for buffer in self._filling.values():
            self._buffers.give_back(buffer.data, pending=False)
        self._filling.clear()
        for future in self._sent.values():
            future.result()

    def _missing(self) -> Iterator[tuple[ArrayPlan, tuple[int, ...]]]:
        for path, plan in self._plans.items():
            for shard in plan.shards:
                if (path, shard) in self._sent:
                    continue
                buffer = self._filling.get((path, shard))
                parts = plan.region(shard)[: plan.n_indexed]
                for index in itertools.product(*(range(part.start, part.stop) for part in parts)):
                    if buffer is None or not buffer.has(index):
                        yield plan, index

    def _where(self, plan: ArrayPlan, index: tuple[int, ...]) -> str:
        part = [slice(position, position + 1) for position in index]
        whole = [slice(0, length) for length in plan.shape[len(part) :]]
        labels = region_labels(plan, self._schema, self._sample, (*part, *whole))
        named = (f"{dim} {labels[dim]}" for dim in ("sample", *plan.dims[: len(part)]))
        return f"{plan.path} at {', '.join(named)}"
