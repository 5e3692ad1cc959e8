"""Recording into a store: cells come in, whole shards go out, a sample counts once it is committed.

The order on disk is the promise: all data of a sample, synced; then its ledger entry. Killed at any
moment, the store opens with the committed samples, and ``create_or_resume`` with the same configuration
goes on with the others. The caller's thread only copies into buffers; see ``shards`` for the rest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ditscope.cache import ledger, preflight, storage, values
from ditscope.cache.creation import create_store, done_plan
from ditscope.cache.layout import ArrayPlan, plan_arrays
from ditscope.cache.manifest import validate_manifest
from ditscope.cache.opening import as_path, check_layout, read_manifest
from ditscope.cache.schema import Schema
from ditscope.cache.shards import Budget, ShardBuffer, ShardWriter
from ditscope.errors import CacheError, InputError, unknown_name
from ditscope.vocabulary import site_spec


class CacheWriter:
    """Fills a store sample by sample. Made by :meth:`create_or_resume`; to be used from one thread.

    All positions count from 0 within what is recorded: ``step_position`` 2 is the third recorded step,
    not the scheduler's step 2.

    Attributes:
        path: the store.
        schema: what it holds.
        manifest: the manifest in the store.
        committed: positions of the samples that are in the ledger.
        memory_budget: bytes that buffers and their encoding may take.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        manifest: Mapping[str, Any],
        *,
        memory_budget: int,
        threads: int,
    ) -> None:
        self.path = path
        self.schema = schema
        self.manifest = manifest
        self.memory_budget = memory_budget
        self._plans = plan_arrays(schema)
        self._open: dict[int, dict[tuple[str, tuple[int, ...]], ShardBuffer]] = {}
        self._sent: dict[int, set[tuple[str, tuple[int, ...]]]] = {}
        self._nonfinite: dict[int, dict[str, int]] = {}
        self._closed = False
        with contextlib.ExitStack() as stack:
            stack.enter_context(ledger.sole_writer(path))
            entries = ledger.read_entries(path, self._plans, len(schema.samples))
            for entry in entries.values():
                ledger.check_files(path, entry)
            self.committed: set[int] = set(entries)
            self._done = storage.open_array(path, done_plan(schema), write=True)
            self._clear_uncommitted()
            reserve = threads * preflight.largest_shard(self._plans)
            self._budget = Budget(memory_budget - reserve)
            self._shards = ShardWriter(path, self._plans, self._budget, threads)
            self._held = stack.pop_all()

    @classmethod
    def create_or_resume(
        cls,
        path: str | os.PathLike[str],
        schema: Schema,
        manifest: Mapping[str, Any],
        *,
        memory_budget: int | None = None,
        threads: int = 2,
    ) -> CacheWriter:
        """Open ``path`` for recording: a new store, or one of the same configuration.

        Args:
            path: the store. It may be absent, an empty folder, or a cache.
            schema: what the store holds.
            manifest: from :func:`ditscope.cache.build_manifest`, of this schema.
            memory_budget: bytes that buffers may take; by default what recording in execution order needs
                and two shards more.
            threads: how many shards are written at once.

        Raises:
            CacheError: the path holds something else, another process records into it, the store is
                damaged, or the disk is too small.
            ConfigMismatchError: the cache there is of another configuration.
            InputError: the manifest is not of this schema, or the memory budget cannot do.
        """
        path = as_path(path)
        if validate_manifest(manifest, "the argument manifest") != schema:
            raise InputError("a manifest of another schema", "build_manifest(schema, ...)", "Build it anew.")
        budget = preflight.memory_budget(schema, threads, memory_budget)
        fresh = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        committed: set[int] = set()
        if not fresh:
            found, _ = read_manifest(path)
            preflight.check_same(path, found, manifest)
            plans = plan_arrays(schema)
            check_layout(path, {**plans, "done": done_plan(schema)})
            committed = set(ledger.read_entries(path, plans, len(schema.samples)))
            manifest = found
        preflight.check_disk(path, schema, len(schema.samples) - len(committed))
        if fresh:
            create_store(path, schema, manifest)
        return cls(path, schema, manifest, memory_budget=budget, threads=threads)

    def put(
        self,
        sample: int,
        stream: str,
        site: str,
        step_position: int,
        branch_position: int,
        block_position: int,
        array: Any,
    ) -> None:
        """Store one hidden state.

        Args:
            sample: position of the sample.
            stream: recorded stream.
            site: recorded site.
            step_position: position among the recorded steps.
            branch_position: position among the recorded branches.
            block_position: position among the recorded blocks.
            array: ``[token, channel]`` in the store's dtype, on the CPU; copied before this returns. A
                stream without a grid may have fewer tokens than the store: the rest reads as NaN. Of
                modulation, float32 ``[channel]``.

        Raises:
            InputError: a name, position, shape or dtype is not the schema's.
            CacheError: the cell was put before, or the sample is committed.
            Exception: what went wrong in the background since, with its own type.
        """
        plan = self._plan(stream, site, tensors=True)
        short = not self.schema.stream(stream).has_grid
        array = values.hidden_state(plan, array, may_be_short=short)
        self._put(plan, sample, (step_position, branch_position, block_position), array)
        if not (self.schema.stats and site_spec(site).has_tokens):  # else the statistics bring the count
            self._count_nonfinite(sample, plan.path, int((~np.isfinite(array)).sum()))

    def put_stats(
        self,
        sample: int,
        stream: str,
        site: str,
        step_position: int,
        branch_position: int,
        block_position: int,
        statistics: Mapping[str, Any],
    ) -> None:
        """Store the statistics of one hidden state.

        Args:
            sample: position of the sample.
            stream: recorded stream.
            site: recorded site.
            step_position: position among the recorded steps.
            branch_position: position among the recorded branches.
            block_position: position among the recorded blocks.
            statistics: ``mean``, ``mean_abs``, ``std``, ``abs_max`` (float ``[channel]``, over the finite
                values of the real tokens), ``nonfinite`` (int ``[channel]``) and ``count`` (int, tokens).

        Raises:
            InputError: a name, position or shape is not the schema's.
            CacheError: the cell was put before, or the sample is committed.
        """
        self._plan(stream, site, tensors=False)
        ready = values.statistics(self._plans, f"{stream}/stats/{site}", statistics)
        for path, array in ready.items():
            self._put(self._plans[path], sample, (step_position, branch_position, block_position), array)
        nonfinite = ready[f"{stream}/stats/{site}/nonfinite"]
        self._count_nonfinite(sample, f"{stream}/{site}", int(nonfinite.sum(dtype=np.int64)))

    def put_token_mask(self, sample: int, branch_position: int, stream: str, mask: Any) -> None:
        """Store which tokens of a padded stream are real: bool ``[token]``, padded with False."""
        self.schema.stream(stream)
        plan, mask = values.token_mask(self._plans.get(f"{stream}/token_mask"), stream, mask)
        self._put(plan, sample, (branch_position,), mask)

    def put_trajectory(self, sample: int, latents: Any, transformer_output: Any) -> None:
        """Store a sample's trajectory.

        Args:
            sample: position of the sample.
            latents: float32 ``[step_boundary, token, latent_channel]``, before every step and after the last.
            transformer_output: ``[step, branch, token, latent_channel]`` in the store's dtype.
        """
        wholes = [
            values.whole(self._plans.get(path), path, value)
            for path, value in (
                ("trajectory/latents", latents),
                ("trajectory/transformer_output", transformer_output),
            )
        ]
        for plan, array in wholes:
            for cell in np.ndindex(plan.shape[1 : 1 + plan.cell]):
                self._put(plan, sample, cell, array[cell])

    def put_image(self, sample: int, image: Any) -> None:
        """Store a sample's final image: uint8 ``[y_pixel, x_pixel, rgb]``."""
        plan, array = values.whole(self._plans.get("images"), "images", image)
        self._put(plan, sample, (), array)

    def commit(self, sample: int) -> None:
        """Wait until all of a sample is on disk, then enter it in the ledger.

        Raises:
            CacheError: the sample is incomplete (the message names the first missing cell) or committed.
            Exception: what went wrong in the background, with its own type.
        """
        self._ready(sample)
        for plan in self._plans.values():
            for shard in plan.shards(sample):
                self._check_sent(plan, shard)
        files = self._shards.wait(sample)
        folders = {self.path / plan.path / "c" for plan in self._plans.values()}
        for name in files:
            folders.update(list((self.path / name).parents)[: name.count("/")])
        for folder in sorted(folders):
            storage.sync(folder)
        ledger.write_entry(self.path, ledger.Entry.now(sample, files, self._nonfinite.pop(sample, {})))
        self.committed.add(sample)
        self._sent.pop(sample, None)
        self._open.pop(sample, None)
        self._done[sample : sample + 1].write(np.array([True])).result()

    def discard(self, sample: int) -> None:
        """Drop what was put of a sample that is not committed, so that it can be put again."""
        if sample in self.committed:
            raise CacheError(f"committed sample {sample}", "one that is not", "Committed samples stay.")
        for buffer in self._open.pop(sample, {}).values():
            self._budget.release(buffer.plan.region_bytes(buffer.shard), pending=False)
        self._shards.forget(sample)
        self._sent.pop(sample, None)
        self._nonfinite.pop(sample, None)
        for plan in self._plans.values():
            shutil.rmtree(self.path / plan.path / "c" / str(sample), ignore_errors=True)

    def close(self) -> None:
        """End the writing threads and let go of the store. What is not committed is dropped."""
        if not self._closed:
            self._closed = True
            self._open.clear()
            self._shards.close()
            self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, plan: ArrayPlan, sample: int, cell: tuple[int, ...], array: values.Array) -> None:
        self._ready(sample)
        for dim, position, length in zip(plan.dims[1:], cell, plan.shape[1:], strict=False):
            if not 0 <= position < length:
                raise InputError(
                    f"{dim} position {position} for {plan.path}",
                    f"0 to {length - 1}",
                    f"Count the recorded {dim}s.",
                )
        shard = plan.shard_of(sample, cell)
        key = (plan.path, shard)
        opened = self._open.setdefault(sample, {})
        buffer = opened.get(key)
        if key in self._sent.get(sample, ()) or (buffer is not None and buffer.has(cell)):
            raise CacheError(f"a second value for {_where(plan, sample, cell)}", "one", "Put each cell once.")
        if buffer is None:
            self._budget.acquire(plan.region_bytes(shard))
            buffer = opened[key] = ShardBuffer(plan, shard)
        buffer.put(cell, array)
        if buffer.complete:
            del opened[key]
            self._sent.setdefault(sample, set()).add(key)
            self._shards.submit(buffer)

    def _ready(self, sample: int) -> None:
        self._shards.raise_failure()
        if self._closed:
            raise CacheError("a closed writer", "an open one", "Call CacheWriter.create_or_resume again.")
        if not 0 <= sample < len(self.schema.samples):
            raise InputError(
                f"sample {sample}", f"0 to {len(self.schema.samples) - 1}", "Count prompts x seeds."
            )
        if sample in self.committed:
            raise CacheError(
                f"committed sample {sample}", "one that is not", "Skip the samples in writer.committed."
            )

    def _plan(self, stream: str, site: str, *, tensors: bool) -> ArrayPlan:
        self.schema.stream(stream)
        if site not in self.schema.sites:
            raise unknown_name("site", site, self.schema.sites)
        if not site_spec(site).has_tokens:
            if not tensors:
                raise InputError(f"statistics of {site}, which has no tokens", "its values", "Call put().")
            return self._plans[f"{stream}/{site}"]
        if not (self.schema.tensors if tensors else self.schema.stats):
            what = "tensors" if tensors else "stats"
            raise InputError(f"{what} for a store without", f"{what}=True", "Set it in the schema.")
        return self._plans[f"{stream}/{site}" if tensors else f"{stream}/stats/{site}/mean"]

    def _count_nonfinite(self, sample: int, place: str, count: int) -> None:
        if count:
            places = self._nonfinite.setdefault(sample, {})
            places[place] = places.get(place, 0) + count

    def _check_sent(self, plan: ArrayPlan, shard: tuple[int, ...]) -> None:
        key = (plan.path, shard)
        sample = shard[0]
        if key in self._sent.get(sample, ()):
            return
        buffer = self._open.get(sample, {}).get(key)
        cell = (
            buffer.first_missing()
            if buffer is not None
            else tuple(part.start for part in plan.region(shard)[1 : 1 + plan.cell])
        )
        raise CacheError(
            f"no value for {_where(plan, sample, cell)}",
            "every cell before commit",
            "Put what is missing, or discard the sample.",
        )

    def _clear_uncommitted(self) -> None:
        """Remove what a recording that was cut off left behind, and repeat the ledger in ``done``."""
        for plan in (*self._plans.values(), done_plan(self.schema)):
            folder = self.path / plan.path / "c"
            for path in folder.iterdir() if folder.is_dir() else ():
                if not (path.name.isdigit() and int(path.name) in self.committed):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for sample in sorted(self.committed):
            if not (self.path / "done" / "c" / str(sample)).exists():
                self._done[sample : sample + 1].write(np.array([True])).result()


def _where(plan: ArrayPlan, sample: int, cell: tuple[int, ...]) -> str:
    places = (f"{dim} position {i}" for dim, i in zip(plan.dims[1:], cell, strict=False))
    return ", ".join((f"{plan.path} at sample {sample}", *places))
