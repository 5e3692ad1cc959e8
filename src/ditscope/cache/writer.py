"""Recording into a store: readings come in, whole shards go out, a sample counts once it is committed.

The order on disk is the promise: all data of a sample, synced; then its ledger entry. Killed at any
moment, the store opens with the committed samples, and ``create_or_resume`` with the same configuration
goes on with the others. The caller's thread only copies into buffers; see ``sample_in_progress`` and ``shards``
for the rest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ditscope import checks
from ditscope.cache import preflight, sample_ledger, storage
from ditscope.cache.layout import ArrayPlan, plan_arrays
from ditscope.cache.lock import sole_writer
from ditscope.cache.manifest import validate_manifest
from ditscope.cache.sample_in_progress import SampleInProgress
from ditscope.cache.schema import Schema
from ditscope.cache.shards import Budget, ShardWriter
from ditscope.cache.store_creation import create_store, done_plan
from ditscope.cache.store_opening import check_layout, read_manifest
from ditscope.cache.value_checks import checked
from ditscope.cache.visit_reading import Address, Reading
from ditscope.encoded_text import EncodedText
from ditscope.errors import CacheError, InputError, not_copied, unknown_name
from ditscope.paths import local_path
from ditscope.precision import at_limit
from ditscope.vocabulary import READ_STATISTICS, STATISTIC_ARRAYS, site_spec


class CacheWriter:
    """Fills a store sample by sample. Made by :meth:`create_or_resume`; to be used from one thread.

    Values come with the labels of the run: step 2 is the scheduler's step 2, not the third that is recorded.

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
        self._samples: dict[int, SampleInProgress] = {}
        self._positions: dict[str, dict[Any, int]] = {
            dim: {label: position for position, label in enumerate(labels)}
            for dim, labels in (
                ("step", [step.index for step in schema.steps]),
                ("branch", schema.branches),
                ("block", [block.index for block in schema.blocks]),
            )
        }
        self._closed = False
        with contextlib.ExitStack() as stack:
            stack.enter_context(sole_writer(path))
            entries = sample_ledger.read_entries(path, self._plans, len(schema.samples))
            for entry in entries.values():
                sample_ledger.check_files(path, entry)
            self.committed: set[int] = set(entries)
            self._done = storage.open_array(path, done_plan(schema), write=True)
            self._clear_uncommitted()
            reserve = threads * preflight.largest_shard(self._plans)
            self._budget = Budget(memory_budget - reserve)
            self._shards = ShardWriter(path, self._plans, self._budget, threads)
            self._lock = stack.pop_all()

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
        path = local_path(path)
        if validate_manifest(manifest, "the argument manifest") != schema:
            raise InputError("a manifest of another schema", "build_manifest(schema, ...)", "Build it anew.")
        budget = preflight.memory_budget(schema, threads, memory_budget)
        fresh = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        committed: set[int] = set()
        if not fresh:
            recorded, _ = read_manifest(path)
            preflight.check_same(path, recorded, manifest)
            plans = plan_arrays(schema)
            check_layout(path, {**plans, "done": done_plan(schema)})
            committed = set(sample_ledger.read_entries(path, plans, len(schema.samples)))
            manifest = recorded
        preflight.check_disk(path, schema, len(schema.samples) - len(committed))
        if fresh:
            create_store(path, schema, manifest)
        return cls(path, schema, manifest, memory_budget=budget, threads=threads)

    def put(self, reading: Reading) -> None:
        """Store what was read at one address; its arrays, on the CPU, are copied before this returns.

        Raises:
            InputError: a label, sample, shape or dtype is not the schema's, or what is read is not kept.
            CacheError: there is a value already, or a sample is committed.
            Exception: what went wrong in the background since, with its own type.
        """
        address = reading.address
        self.schema.stream(address.stream)
        checks.name_of("site", address.site, self.schema.sites)
        index = tuple(self._position(dim, getattr(address, dim)) for dim in ("step", "branch", "block"))
        # All is checked before anything is kept, so that a corrected reading can be put.
        hidden = None if reading.hidden is None else self._hidden_rows(reading)
        plans = {} if reading.statistics is None else self._statistic_plans(address)
        statistics = None if reading.statistics is None else self._statistic_rows(reading)
        progress = [self._in_progress(sample) for sample in reading.samples]
        if hidden is not None:
            self._put_hidden(address, index, progress, hidden)
        if statistics is not None:
            self._put_statistics(address, index, progress, plans, statistics)

    def put_token_masks(self, samples: Sequence[int], stream: str, branch: str, masks: Any) -> None:
        """Store which tokens of a padded stream are real: bool ``[row, token]``, a row for each sample."""
        self.schema.stream(stream)
        plan = self._plan(f"{stream}/token_mask", "a stream without a grid")
        lengths = {"row": len(samples), "token": plan.shape[-1]}
        masks = checked(plan.path, masks, bool, lengths, may_be_short=True)
        for sample, mask in zip(samples, masks, strict=True):
            self._in_progress(sample).put(plan, (self._position("branch", branch),), mask)

    def put_trajectory(self, sample: int, *, latents: Any, transformer_output: Any) -> None:
        """Store a sample's trajectory.

        Args:
            sample: position of the sample.
            latents: float32 ``[step_boundary, token, latent_channel]``, before every step and after the last.
            transformer_output: ``[step, branch, token, latent_channel]`` in the store's dtype.
        """
        self._put_whole("trajectory/latents", sample, latents)
        self._put_whole("trajectory/transformer_output", sample, transformer_output)

    def put_image(self, sample: int, image: Any) -> None:
        """Store a sample's final image: uint8 ``[y_pixel, x_pixel, rgb]``."""
        self._put_whole("images", sample, image)

    def commit(self, sample: int, text: EncodedText | None = None, *, live: str | None = None) -> None:
        """Wait until all of a sample is on disk, then enter it in the ledger.

        Args:
            sample: position of the sample.
            text: what its text encoders were given; None if that is not known.
            live: digest of the live state of the model that made it.

        Raises:
            CacheError: the sample is incomplete (the message names the first missing value) or committed.
            Exception: what went wrong in the background, with its own type.
        """
        progress = self._in_progress(sample)
        files = progress.finish()
        folders = {self.path / plan.path / "c" for plan in self._plans.values()}
        for name in files:
            folders.update(list((self.path / name).parents)[: name.count("/")])
        for folder in sorted(folders):
            storage.sync(folder)
        entry = sample_ledger.Entry.now(sample, files, progress.nonfinite, progress.saturated, text, live)
        sample_ledger.write_entry(self.path, entry)
        self.committed.add(sample)
        del self._samples[sample]
        self._done[sample : sample + 1].write(np.array([True])).result()

    def discard(self, sample: int) -> None:
        """Drop what was put of a sample that is not committed, so that it can be put again."""
        if sample in self.committed:
            raise CacheError(f"committed sample {sample}", "one that is not", "Committed samples stay.")
        if sample in self._samples:
            self._samples.pop(sample).drop()
        for plan in self._plans.values():
            shutil.rmtree(self.path / plan.path / "c" / str(sample), ignore_errors=True)

    def close(self) -> None:
        """End the writing threads and let go of the store. What is not committed is dropped."""
        if not self._closed:
            self._closed = True
            self._samples.clear()
            self._shards.close()
            self._lock.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise not_copied("an open store", "Pass its path.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hidden_rows(self, reading: Reading) -> np.ndarray:
        stream, site = reading.address.stream, reading.address.site
        plan = self._plan(f"{stream}/{site}", "tensors=True")
        lengths = {"row": len(reading.samples), **dict(list(plan.lengths.items())[1 + plan.n_indexed :])}
        short = not self.schema.stream(stream).has_grid
        return checked(plan.path, reading.hidden, plan.numpy_dtype, lengths, may_be_short=short)

    def _statistic_rows(self, reading: Reading) -> np.ndarray:
        n_read, n_channels = len(READ_STATISTICS), len(self.schema.channels)
        lengths = {"row": len(reading.samples), "statistic": n_read, "channel": n_channels}
        what = f"{', '.join(READ_STATISTICS)} of {reading.address.stream}/{reading.address.site}"
        return checked(what, reading.statistics, np.float32, lengths)

    def _statistic_plans(self, address: Address) -> dict[str, ArrayPlan]:
        folder = f"{address.stream}/stats/{address.site}"
        return {name: self._plan(f"{folder}/{name}", "stats=True") for name in STATISTIC_ARRAYS}

    def _put_hidden(
        self, address: Address, index: tuple[int, ...], progress: Sequence[SampleInProgress], rows: np.ndarray
    ) -> None:
        path = f"{address.stream}/{address.site}"
        counted = self.schema.stats and site_spec(address.site).has_tokens  # the statistics bring the count
        for sample, hidden in zip(progress, rows, strict=True):
            sample.put(self._plans[path], index, hidden)
            if not counted:
                sample.count_nonfinite(path, int((~np.isfinite(hidden)).sum()))
                saturated = at_limit(hidden, self.schema.dtype)
                sample.count_saturated(path, address.block, np.atleast_2d(saturated).sum(axis=0))

    def _put_statistics(
        self,
        address: Address,
        index: tuple[int, ...],
        progress: Sequence[SampleInProgress],
        plans: Mapping[str, ArrayPlan],
        rows: np.ndarray,
    ) -> None:
        path = f"{address.stream}/{address.site}"
        for sample, row in zip(progress, rows, strict=True):
            sample.count_saturated(path, address.block, row[READ_STATISTICS.index("saturated")])
            for (name, plan), array in zip(plans.items(), row[: len(plans)], strict=True):
                # float32 holds whole numbers up to 2**24, the most tokens that there may be.
                own = array.astype(plan.numpy_dtype)
                sample.put(plan, index, own[0] if name == "count" else own)
                if name == "nonfinite":
                    sample.count_nonfinite(path, int(own.sum(dtype=np.int64)))

    def _put_whole(self, path: str, sample: int, value: Any) -> None:
        plan = self._plan(path, "one")
        _, *dims = plan.dims
        array = checked(path, value, plan.numpy_dtype, {dim: plan.lengths[dim] for dim in dims})
        for index in plan.indices():
            self._in_progress(sample).put(plan, index, array[index])

    def _in_progress(self, sample: int) -> SampleInProgress:
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
        if sample not in self._samples:
            self._samples[sample] = SampleInProgress(
                sample, self.schema, self._plans, self._budget, self._shards
            )
        return self._samples[sample]

    def _plan(self, path: str, needed: str) -> ArrayPlan:
        if path not in self._plans:
            expected = f"a store of a schema with {needed}"
            raise InputError(f"a value of {path}, which the store does not have", expected, "Leave it out.")
        return self._plans[path]

    def _position(self, dim: str, label: object) -> int:
        known = self._positions[dim]
        if label not in known:
            raise unknown_name(dim, label, known)
        return known[label]

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
