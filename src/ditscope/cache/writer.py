"""Recording into a store: readings come in, whole files go out, a sample counts once it is committed.

The order on disk is the promise: all data of a sample, synced; then its line in the ledger. Killed at any moment, the
store opens with the committed samples, and ``create_or_resume`` with the same configuration goes on with the others,
or with more. The caller's thread only copies into buffers; see ``sample_in_progress`` and ``shards`` for the rest.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np

from ditscope.cache import files, preflight, sample_ledger, zarr_metadata
from ditscope.cache.layout import ArrayPlan, statistics_path, values_path
from ditscope.cache.lock import held
from ditscope.cache.manifest import validate_manifest
from ditscope.cache.sample_in_progress import SampleInProgress
from ditscope.cache.sample_ledger import Entry, Ledger
from ditscope.cache.samples import SampleSpec, join
from ditscope.cache.schema import Schema, StoredSite
from ditscope.cache.shard_encoding import Copy
from ditscope.cache.shards import SAFE, Buffers, ShardWriter, Spent
from ditscope.cache.store_creation import create_store, update_zarr_files
from ditscope.cache.store_opening import Store, open_store
from ditscope.cache.value_checks import checked
from ditscope.cache.visit_reading import Reading
from ditscope.encoded_text import EncodedText
from ditscope.errors import CacheError, InputError, not_copied, unknown_name
from ditscope.paths import local_path
from ditscope.precision import at_limit


class CacheWriter:
    """Fills a store sample by sample. Made by :meth:`create_or_resume`; to be used from one thread.

    Values come with the labels of the run: step 2 is the scheduler's step 2, not the third that is recorded. Samples
    have positions in the store, where those of earlier recordings come first.

    Attributes:
        store: what is at the path.
        path: of the store.
        schema: what it holds of each sample.
        manifest: the manifest in the store.
        samples: every sample of the store, in order of position.
        positions: of the samples that were asked for, in their order.
        entries: what the ledger says of the committed samples, by position.
        memory_budget: bytes that buffers may take.
        buffers: that memory, in which the caller's own on the way to ``put`` can be counted.
        time: where time is counted, the caller's own too.
        spent: seconds by stage: ``copy``, ``encode``, ``write and sync``, ``commit``.
    """

    def __init__(
        self,
        store: Store,
        asked: Sequence[SampleSpec],
        tensors: Mapping[str, np.ndarray],
        *,
        memory_budget: int,
        threads: int,
        copy: Copy,
        made: int | None = None,  # bytes of the journal of a store that was made just now
    ) -> None:
        self.path, self.schema, self.manifest = store.path, store.schema, store.manifest
        self.memory_budget = memory_budget
        self.store, self._plans, self._copy = store, store.plans, copy
        self._in_progress: dict[int, SampleInProgress] = {}
        self._positions: dict[str, dict[Any, int]] = {
            "step": _positions(step.index for step in self.schema.steps),
            "branch": _positions(self.schema.branches),
        }
        self._blocks = {site.folder: _positions(site.blocks) for site in self.schema.sites}
        self._sites = {(site.stream, site.name): site for site in self.schema.sites}
        self._counted = [self.schema.statistics.index(name) for name in _COUNTED]
        self._closed = False
        self.time = Spent()
        self.spent: Mapping[str, float] = self.time.seconds
        with contextlib.ExitStack() as stack:
            stack.enter_context(held(self.path / sample_ledger.FOLDER))
            ledger = store.ledger()
            self.entries: dict[int, Entry] = dict(ledger.entries)
            self.samples: list[SampleSpec] = list(ledger.samples)
            self._end = ledger.end
            new, self.positions = join(self.samples, asked)
            for position in self.positions:
                if position in self.entries:
                    sample_ledger.check_files(self.path, self._plans, self.entries[position])
            if made is None:  # else it was looked at before the store was made
                to_go = sum(position not in self.entries for position in self.positions)
                preflight.check_disk(self.path, self._plans, to_go)
            zarr_metadata.require_done_in_ledger(store.path, ledger)
            if not ledger.damaged:  # else the files of a sample whose line is damaged are among them
                self._remove_files(lambda number: number not in self.entries)
            self._tensors = dict(ledger.tensors)
            more = {digest: tensors[digest] for digest in tensors if digest not in self._tensors}
            if lines := sample_ledger.growth_lines(len(self.samples), new, more):
                self._append(lines)
            self._tensors |= more
            self.samples += new
            if self._end != made:  # else all are as this process has just written them
                update_zarr_files(store, Ledger(self.samples, self.entries, self._tensors))
            least = preflight.least_memory(store.plans, self.schema.batch_size)
            self.buffers = Buffers(memory_budget - preflight.encoding_memory(store.plans, threads), least)
            counted = (
                () if self.schema.stats else [p.path for p in self._plans.values() if p.kind == "tensors"]
            )
            self._shards = ShardWriter(self.path, self.buffers, threads, self.time, counted)
            self._lock = stack.pop_all()

    @classmethod
    def create_or_resume(
        cls,
        path: str | os.PathLike[str],
        schema: Schema,
        manifest: Mapping[str, Any],
        samples: Sequence[SampleSpec] = (),
        tensors: Mapping[str, np.ndarray] = MappingProxyType({}),
        *,
        memory_budget: int = preflight.MEMORY_BUDGET,
        beside: int = 0,
        threads: int = preflight.THREADS,
        copy: Copy = np.copyto,
    ) -> CacheWriter:
        """Open ``path`` for recording: a new store, or one of the same configuration, which gains what is new.

        Args:
            path: the store. It may be absent, an empty folder, or a cache.
            schema: what the store holds of each sample.
            manifest: from :func:`ditscope.cache.build_manifest`, of this schema.
            samples: what is to be recorded; those that the store has keep their positions.
            tensors: small tensors of the call, which the ledger keeps whole, by digest.
            memory_budget: bytes that buffers may take.
            beside: how many of them the caller must be able to reserve in ``buffers``.
            threads: how many files are written at once.
            copy: how values are copied into buffers.

        Raises:
            CacheError: the path holds something else, another process records into it, the store is
                damaged, or the disk is too small.
            ConfigMismatchError: the cache there is of another configuration.
            InputError: the manifest is not of this schema, a sample is named twice, or the memory budget cannot do.
        """
        path = local_path(path)
        with _told(f"opening {path} for recording"):
            return cls._create_or_resume(
                path, schema, manifest, samples, tensors, memory_budget, beside, threads, copy
            )

    @classmethod
    def _create_or_resume(
        cls,
        path: Path,
        schema: Schema,
        manifest: Mapping[str, Any],
        samples: Sequence[SampleSpec],
        tensors: Mapping[str, np.ndarray],
        memory_budget: int,
        beside: int,
        threads: int,
        copy: Copy,
    ) -> CacheWriter:
        own_schema, plans = validate_manifest(manifest, "the argument manifest")
        if own_schema != schema:
            raise InputError("a manifest of another schema", "build_manifest(schema, ...)", "Build it anew.")
        preflight.check_memory(schema, plans, len(samples), memory_budget, beside)
        try:
            path = path.resolve()
            free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        except (OSError, RuntimeError) as error:
            raise CacheError(
                f"a path {path} that cannot be used ({error})", "a path", "Choose another."
            ) from error
        made = None
        if free:
            preflight.check_disk(path, plans, len(samples))
            new, _ = join((), samples)
            made = create_store(path, schema, plans, manifest, Ledger(new, {}, tensors))
            store = Store(path, dict(manifest), own_schema, plans)
        else:
            store = open_store(path)
            preflight.check_same(path, store.manifest, manifest)
        return cls(
            store, samples, tensors, memory_budget=memory_budget, threads=threads, copy=copy, made=made
        )

    @property
    def committed(self) -> set[int]:
        """Positions of the samples that are in the ledger."""
        return set(self.entries)

    def put(self, reading: Reading) -> None:
        """Store what was read at one address; its arrays, on the CPU, are copied before this returns.

        Raises:
            InputError: a label, sample, shape or dtype is not the schema's, or what is read is not kept.
            CacheError: there is a value already, or a sample is committed.
            Exception: what went wrong in the background since, with its own type.
        """
        address = reading.address
        site = self._sites.get((address.stream, address.site)) or self.schema.site(
            address.stream, address.site
        )
        known = self._blocks[site.folder]
        positions = [_known("block", block, known) for block in address.blocks]
        outer = (self._position("step", address.step), self._position("branch", address.branch))
        # All is checked before anything is kept, so that a corrected reading can be put.
        hidden = None if reading.hidden is None else self._hidden_rows(reading, site)
        statistics = None if reading.statistics is None else self._statistic_rows(reading)
        progress = [self._progress_of(sample) for sample in reading.samples]
        with self.time.on("copy"):
            for run, own in _runs(positions):
                if hidden is not None:
                    self._put_hidden(site, outer, run, progress, hidden[own])
                if statistics is not None:
                    self._put_statistics(site, outer, run, progress, statistics[own])

    def put_token_masks(self, samples: Sequence[int], stream: str, branch: str, masks: Any) -> None:
        """Store which tokens of a padded stream are real: bool ``[row, token]``, a row for each sample."""
        self.schema.stream(stream)
        plan = self._plan(f"{stream}/token_mask", "a stream without a grid")
        lengths = {"row": len(samples), "token": plan.shape[-1]}
        masks = checked(plan.path, masks, bool, lengths, may_be_short=True)
        for sample, mask in zip(samples, masks, strict=True):
            self._progress_of(sample).put(plan, (self._position("branch", branch),), mask)

    def put_token_ids(self, sample: int, stream: str, ids: Any) -> None:
        """Store which tokens of a sample were drawn: int32 ``[token]``."""
        self._put_whole(f"{stream}/token_id", sample, ids)

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

    def commit(
        self,
        sample: int,
        text: EncodedText | None = None,
        *,
        live: str | None = None,
        batch: Sequence[int] = (),
        like: Entry | None = None,
    ) -> None:
        """Wait until all of a sample is on disk, then enter it in the ledger.

        Args:
            sample: position of the sample.
            text: what its text encoders were given; None if that is not known.
            live: as of :meth:`commit_together`.
            batch: as of :meth:`commit_together`.
            like: what the ledger said of it before; it is not entered unless every value is the same.

        Raises:
            CacheError: as of :meth:`commit_together`.
            Exception: what went wrong in the background, with its own type.
        """
        self.commit_together(
            {sample: text}, live=live, batch=batch, like={} if like is None else {sample: like}
        )

    def commit_together(
        self,
        texts: Mapping[int, EncodedText | None],
        *,
        live: str | None = None,
        batch: Sequence[int] = (),
        like: Mapping[int, Entry] = MappingProxyType({}),
    ) -> None:
        """Wait until all of several samples is on disk, then enter them in the ledger, by one append.

        Args:
            texts: position of a sample -> what its text encoders were given; None if that is not known.
            live: digest of the live state of the model that made them.
            batch: positions of the samples that they were generated together with, themselves included.
            like: what the ledger said of one before; it is not entered unless every value is the same.

        Raises:
            CacheError: a sample is incomplete (the message names the first missing value) or committed, and none is
                entered; or it has other values than ``like``, and those before it are.
            Exception: what went wrong in the background, with its own type.
        """
        if not texts:
            return
        progress = {sample: self._progress_of(sample) for sample in texts}
        with self.time.on("commit"), _told(f"committing sample {', '.join(map(str, texts))}"):
            stored = {sample: own.finish() for sample, own in progress.items()}
            self._shards.sync(texts, [self.path / path for path in self._plans])
            odd = [sample for sample in texts if sample in like and like[sample].files != stored[sample]]
            entries = [
                Entry(
                    sample,
                    self.samples[sample],
                    sample_ledger.now(),
                    stored[sample],
                    progress[sample].nonfinite,
                    progress[sample].saturated,
                    text,
                    live,
                    tuple(batch),
                )
                for sample, text in itertools.takewhile(lambda each: each[0] not in odd[:1], texts.items())
            ]
            if entries:
                lines = [sample_ledger.line("commit", entry.to_json()) for entry in entries]
                self._append(b"".join(lines))
                for entry in entries:
                    self.entries[entry.sample] = entry
                    del self._in_progress[entry.sample]
                self._repeat_in_done([entry.sample for entry in entries])
            if odd:
                raise CacheError(
                    f"other values of sample {odd[0]} than were recorded on {like[odd[0]].committed}",
                    "the same values, bit for bit",
                    "The model, the libraries or the machine compute otherwise now: record into a new path.",
                )

    def discard(self, sample: int) -> None:
        """Drop what was put of a sample that is not committed, so that it can be put again."""
        if sample in self.entries:
            raise CacheError(f"committed sample {sample}", "one that is not", "Committed samples stay.")
        if sample in self._in_progress:
            self._in_progress.pop(sample).drop()
        with _told(f"discarding sample {sample}"):
            self._remove_files(lambda number: number == sample)

    def drop(self, sample: int) -> Entry:
        """Take a committed sample out of the ledger, so that it can be recorded again; return what that said.

        Raises:
            CacheError: it is not committed.
        """
        if sample not in self.entries:
            raise CacheError(f"sample {sample}, which is not committed", "one that is", "Record it.")
        with _told(f"dropping sample {sample}"):
            self._append(sample_ledger.line("drop", {"sample": sample}))
            entry = self.entries.pop(sample)
            self._repeat_in_done([sample])
            self._remove_files(lambda number: number == sample)
        return entry

    def rewrite_ledger(self) -> None:
        """Write the journal anew, without what is damaged or no longer counts."""
        lines = [sample_ledger.first_line(self.manifest)]
        if self.samples:
            lines.append(sample_ledger.samples_line(0, self.samples))
        lines += [sample_ledger.tensor_line(digest, values) for digest, values in self._tensors.items()]
        lines += [sample_ledger.line("commit", entry.to_json()) for entry in self.entries.values()]
        content = b"".join(lines)
        files.replace(self.path / sample_ledger.FILE, content)
        self._end = len(content)

    def close(self) -> None:
        """End the writing threads and let go of the store. What is not committed is dropped."""
        if not self._closed:
            self._closed = True
            self._in_progress.clear()
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

    def _hidden_rows(self, reading: Reading, site: StoredSite) -> np.ndarray:
        plan = self._plan(values_path(site), "tensors=True")
        short = not self.schema.stream(site.stream).has_grid
        return self._rows(reading, reading.hidden, plan.path, plan, plan.numpy_dtype, may_be_short=short)

    def _statistic_rows(self, reading: Reading) -> np.ndarray:
        address = reading.address
        plan = self._plan(statistics_path(address.stream, address.site), "stats=True")
        what = f"{', '.join(self.schema.statistics)} of {plan.path}"
        return self._rows(reading, reading.statistics, what, plan, np.float32)

    def _rows(
        self, reading: Reading, values: Any, what: str, plan: ArrayPlan, dtype: Any, **allowed: bool
    ) -> np.ndarray:
        """Values of a reading, ``[block, row, ...]``."""
        lengths = {"row": len(reading.samples), **plan.value_lengths}
        if isinstance(reading.address.block, tuple):
            return checked(what, values, dtype, {"block": len(reading.address.block), **lengths}, **allowed)
        return checked(what, values, dtype, lengths, **allowed)[None]

    def _put_hidden(
        self,
        site: StoredSite,
        outer: tuple[int, ...],
        run: slice,
        progress: Sequence[SampleInProgress],
        values: np.ndarray,
    ) -> None:
        path, plan = site.folder, self._plans[values_path(site)]
        for row, sample in enumerate(progress):
            hidden = values[:, row]
            sample.put(plan, (*outer, run), hidden)
            if not site.has_tokens:  # else the statistics bring the count, or it is taken in the background
                sample.count_nonfinite(path, int((~np.isfinite(hidden)).sum()))
                for block, own in zip(site.blocks[run], at_limit(hidden, self.schema.dtype), strict=True):
                    sample.count_saturated(path, block, np.atleast_2d(own).sum(axis=0))

    def _put_statistics(
        self,
        site: StoredSite,
        outer: tuple[int, ...],
        run: slice,
        progress: Sequence[SampleInProgress],
        values: np.ndarray,
    ) -> None:
        path, plan = site.folder, self._plans[statistics_path(site.stream, site.name)]
        for row, sample in enumerate(progress):
            sample.put(plan, (*outer, run), values[:, row])
        nonfinite, saturated = (values[:, :, at] for at in self._counted)
        if nonfinite.any() or saturated.any():
            for row, sample in enumerate(progress):
                # float32 holds whole numbers up to 2**24, the most tokens that there may be.
                sample.count_nonfinite(path, int(nonfinite[:, row].sum(dtype=np.int64)))
                for block, own in zip(site.blocks[run], saturated[:, row], strict=True):
                    sample.count_saturated(path, block, own)

    def _put_whole(self, path: str, sample: int, value: Any) -> None:
        plan = self._plan(path, "one")
        array = checked(path, value, plan.numpy_dtype, plan.lengths)
        for index in plan.indices():
            self._progress_of(sample).put(plan, index, array[index])

    def _progress_of(self, sample: int) -> SampleInProgress:
        self._shards.raise_failure()
        if self._closed:
            raise CacheError("a closed writer", "an open one", "Call CacheWriter.create_or_resume again.")
        if not 0 <= sample < len(self.samples):
            raise InputError(
                f"sample {sample}", f"0 to {len(self.samples) - 1}", "Use the positions in writer.positions."
            )
        if sample in self.entries:
            raise CacheError(
                f"committed sample {sample}", "one that is not", "Skip the samples in writer.committed."
            )
        if sample not in self._in_progress:
            self._in_progress[sample] = SampleInProgress(
                sample, self.schema, self._plans, self.buffers, self._shards, self._copy
            )
        return self._in_progress[sample]

    def _plan(self, path: str, needed: str) -> ArrayPlan:
        if path not in self._plans:
            expected = f"a store of a schema with {needed}"
            raise InputError(f"a value of {path}, which the store does not have", expected, "Leave it out.")
        return self._plans[path]

    def _position(self, dim: str, label: object) -> int:
        return _known(dim, label, self._positions[dim])

    def _append(self, line: bytes) -> None:
        files.append(self.path / sample_ledger.FILE, line, self._end)
        self._end += len(line)

    def _repeat_in_done(self, samples: Sequence[int]) -> None:
        chunks = {sample // zarr_metadata.SAMPLES_PER_CHUNK: sample for sample in samples}
        for sample in chunks.values():
            name, content = zarr_metadata.done_file(len(self.samples), self.entries, sample)
            files.overwrite(self.path / name, content)

    def _remove_files(self, of: Callable[[int], bool]) -> None:
        """Remove the files of samples by their positions."""
        for path in self._plans:
            for name in files.names(self.path / path):
                match = _FILE.match(name)
                if match and of(int(match[1])):
                    files.remove(self.path / path / name)


@contextlib.contextmanager
def _told(doing: str) -> Iterator[None]:
    """Say what an error of the disk means for the store."""
    try:
        yield
    except OSError as error:
        if not getattr(error, "__notes__", None):
            error.add_note(f"while {doing}: {SAFE}")
        raise


def _runs(positions: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Positions that follow each other, as a slice, and where in the sequence they are."""
    start = 0
    for at in range(1, len(positions) + 1):
        if at == len(positions) or positions[at] != positions[at - 1] + 1:
            yield slice(positions[start], positions[at - 1] + 1), slice(start, at)
            start = at


def _positions(labels: Iterable[Any]) -> dict[Any, int]:
    return {label: position for position, label in enumerate(labels)}


def _known(dim: str, label: object, known: Mapping[Any, int]) -> int:
    if label not in known:
        raise unknown_name(dim, label, known)
    return known[label]


_COUNTED = ("nonfinite", "saturated")
"""Statistics that the ledger has the sum of."""

_FILE = re.compile(r"c\.(\d+)\.")
