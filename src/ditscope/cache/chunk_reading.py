"""Reading chunks of committed samples: every one is compared with its checksum in the ledger before it is used.

Missing, cut short, damaged or swapped, it is an error that says of which sample, step, block and stream; there are no
fill values in a committed sample.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

from ditscope.cache import files
from ditscope.cache.labels import in_words, region_labels
from ditscope.cache.layout import CRC_BYTES, INDEX_ENTRY_BYTES, ArrayPlan
from ditscope.cache.sample_ledger import StoredFiles
from ditscope.cache.schema import Schema
from ditscope.cache.shard_encoding import FileForm, chunk_view, copy_runs, file_form
from ditscope.errors import CacheError

_scratch = threading.local()

_OTHER_CHECKSUM = "its checksum is not the ledger's"

_PIECE = 2**20
"""Bytes that are read, checked and used while they are in a core's cache."""


@dataclass(frozen=True)
class ChunkSource:
    """An array's files of committed samples.

    Attributes:
        store: folder of the store.
        schema: of the store.
        plan: the array.
        stored: position of a sample -> its files.
    """

    store: Path
    schema: Schema
    plan: ArrayPlan
    stored: Mapping[int, StoredFiles]

    def read(self, sample: int, positions: Sequence[np.ndarray[Any, Any]], out: np.ndarray[Any, Any]) -> None:
        """Read a selection of a sample.

        Args:
            sample: position of the sample.
            positions: along each axis after ``sample``, which to read, in any order.
            out: where they go: bits of the array's dtype, ``[len(positions), ...]``.

        Raises:
            CacheError: a chunk is missing or is not what was recorded.
        """
        self.read_files(sample, self.files_with(positions), out)

    def files_with(self, positions: Sequence[np.ndarray[Any, Any]]) -> list[FileRead]:
        """The files that have a selection, and where in them it is: the same for every sample."""
        plan = self.plan
        axes = [_by_file(chosen, length) for chosen, length in zip(positions, plan.shard, strict=True)]
        return [self._file_read(parts) for parts in itertools.product(*axes)]

    def read_files(self, sample: int, reads: Sequence[FileRead], out: np.ndarray[Any, Any]) -> None:
        """Read what :meth:`files_with` found; otherwise as :meth:`read`."""
        for read in reads:
            if read.pairs is None:
                out[read.place] = self._chunks(sample, read).reshape(read.lengths)[read.positions]
                continue
            target = out[read.place].reshape(read.pairs, copy=False)
            if self.is_large(read):
                for place, first, values in self.pieces(sample, read):
                    into = tuple(part for i in place for part in (slice(i, i + 1), slice(None)))
                    read.copy(target[into], values, first)
            else:
                read.copy(target, self._chunks(sample, read))

    def damaged(self, sample: int) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Every damaged chunk of a sample: its file, labels and what is wrong; whole files where they are missing."""
        plan = self.plan
        for number, shard in enumerate(plan.shards):
            name = plan.file_name(sample, shard)
            form = file_form(plan, shard)
            whole = region_labels(plan, self.schema, sample, plan.region(shard))
            try:
                with files.opened(self.store / name) as handle:
                    yield from self._damaged_chunks(handle, sample, shard, number, form, name)
            except FileNotFoundError:
                yield name, whole, "the file is missing"
            except (OSError, CacheError) as error:
                yield name, whole, f"the file cannot be read ({getattr(error, 'strerror', None) or error})"

    def _damaged_chunks(
        self, handle: int, sample: int, shard: tuple[int, ...], number: int, form: FileForm, name: str
    ) -> Iterator[tuple[str, dict[str, Any], str]]:
        expected = self.stored[sample].file_sizes(self.plan)[number]
        data = _memory(min(expected, files.nbytes_of(handle)) + 1)
        got = files.read_into(handle, 0, data.data)
        whole = region_labels(self.plan, self.schema, sample, self.plan.region(shard))
        checksums = self._checksums(sample, number)
        found = False
        try:
            places = self._places(data[:got], form, got)
        except CacheError as error:
            yield name, whole, error.found
            return
        for chunk, (offset, size) in enumerate(places):
            part = data[offset : min(offset + size, got)]
            if len(part) < size or google_crc32c.value(part[: size - CRC_BYTES]) != checksums[chunk]:
                found = True
                reason = "the file ends before it" if len(part) < size else "its checksum does not fit"
                yield name, self._chunk_labels(sample, shard, form, chunk), reason
            elif bytes(part[size - CRC_BYTES :]) != int(checksums[chunk]).to_bytes(CRC_BYTES, "little"):
                found = True
                yield (
                    name,
                    self._chunk_labels(sample, shard, form, chunk),
                    "its checksum in the file is damaged",
                )
        index = (
            form.plain_index if self.plan.compression is None else form.index([size for _, size in places])
        )
        if not found and (got != expected or bytes(data[got - len(index) : got]) != index):
            wrong = f"{got} bytes, not {expected}" if got != expected else "the index of the file is damaged"
            yield name, whole, wrong

    def _file_read(self, parts: Sequence[_Part]) -> FileRead:
        shard = tuple(part.file for part in parts)
        form, chunk = file_form(self.plan, shard), self.plan.chunk
        inside = [part.inside for part in parts]
        touched = [_distinct(at // length) for at, length in zip(inside, chunk, strict=True)]
        lengths = tuple(len(t) * c for t, c in zip(touched, chunk, strict=True))
        positions = [
            np.searchsorted(t, at // c) * c + at % c for t, at, c in zip(touched, inside, chunk, strict=True)
        ]
        *whole, last_is_whole = (
            len(at) == n and (at == np.arange(n)).all() for at, n in zip(positions, lengths, strict=True)
        )
        sliced = all(isinstance(part.place, slice) for part in parts)
        number = int(np.ravel_multi_index(shard, self.plan.grid))
        pairs = [n for t, c in zip(touched, chunk, strict=True) for n in (len(t), c)]
        last = None
        if not last_is_whole:
            pairs[-2:] = [len(positions[-1])]
            last = list(zip(*(each.tolist() for each in np.divmod(positions[-1], chunk[-1])), strict=True))
        return FileRead(
            shard,
            number,
            form,
            tuple(len(t) for t in touched),
            np.ravel_multi_index(np.ix_(*touched), form.grid).ravel(),
            tuple(part.place for part in parts)
            if sliced
            else np.ix_(*(_listed(part.place) for part in parts)),
            pairs if all(whole) and sliced else None,
            last,
            lengths,
            np.ix_(*positions),
        )

    def _chunks(self, sample: int, read: FileRead) -> np.ndarray[Any, Any]:
        """The touched chunks of a file, checked: a view ``[touched, chunk, touched, chunk, ...]``."""
        plan, form, numbers = self.plan, read.form, read.chunks
        checksums = self._checksums(sample, read.number)
        try:
            with files.opened(self.store / plan.file_name(sample, read.shard)) as handle:
                expected = self.stored[sample].file_sizes(plan)[read.number]
                if plan.compression is None:
                    _announce(handle, form, [numbers])
                    data = _memory(len(numbers) * form.pitch)
                    self._read_plain(handle, form, numbers, data)
                else:
                    data = self._decompressed(handle, form, numbers, expected, checksums)
        except (OSError, CacheError) as error:
            raise self._unreadable(sample, read.shard, form, int(numbers[0]), str(error)) from error
        if plan.compression is None and (wrong := _first_wrong(data, form, numbers, checksums)) is not None:
            raise self._unreadable(sample, read.shard, form, wrong, _OTHER_CHECKSUM)
        return chunk_view(data, read.touched, form.chunk, form.dtype)

    def is_large(self, read: FileRead) -> bool:
        """Whether it is read by the piece: what is in memory is checked and used while the disk has other pieces."""
        chunk_bytes = read.form.chunk_bytes
        plain = self.plan.compression is None
        return (
            plain and chunk_bytes * read.touched[-1] >= _PIECE and chunk_bytes * len(read.chunks) > 2 * _PIECE
        )

    def pieces(
        self, sample: int, read: FileRead
    ) -> Iterator[tuple[tuple[int, ...], int, np.ndarray[Any, Any]]]:
        """Chunks of a file that is not compressed, checked, a few along the last axis at a time.

        Yields:
            Where they are along the other axes, the first along the last, and a view ``[1, chunk, ..., chunks,
            chunk]`` of their values, which are there until the next are asked for.
        """
        form, checksums = read.form, self._checksums(sample, read.number)
        *outer, n_last = read.touched
        rows, together = read.chunks.reshape(-1, n_last), max(1, round(_PIECE / form.pitch))
        at = int(read.chunks[0])
        try:
            name = self.plan.file_name(sample, read.shard)
            with files.opened(self.store / name) as handle, _own_memory(together * form.pitch) as data:
                _announce(handle, form, rows)
                for place, row in zip(np.ndindex(*outer), rows, strict=True):
                    for start in range(0, n_last, together):
                        some = row[start : start + together]
                        at = int(some[0])
                        self._read_plain(handle, form, some, data)
                        if (wrong := _first_wrong(data, form, some, checksums)) is not None:
                            at = wrong
                            raise CacheError(_OTHER_CHECKSUM, "the same", "Repair it.")
                        grid = (*(1 for _ in outer), len(some))
                        yield place, start, chunk_view(data, grid, form.chunk, form.dtype)
        except (OSError, CacheError) as error:
            reason = error.found if isinstance(error, CacheError) else str(error)
            raise self._unreadable(sample, read.shard, form, at, reason) from error

    def _read_plain(
        self, handle: int, form: FileForm, numbers: np.ndarray[Any, Any], data: np.ndarray[Any, Any]
    ) -> None:
        """Read chunks that are not compressed, one behind the other, as in the file."""
        view, done = data.data, 0
        for offset, size in _places_of(numbers, form):
            got = files.read_into(handle, offset, view[done : done + size])
            if got < size:
                raise CacheError(f"{got} of {size} bytes", "all of them", "The file was cut short.")
            done += size

    def _decompressed(
        self,
        handle: int,
        form: FileForm,
        numbers: np.ndarray[Any, Any],
        expected: int,
        checksums: np.ndarray[Any, Any],
    ) -> np.ndarray[Any, Any]:
        """Compressed chunks, checked, as :meth:`_read_plain` would have them."""
        tail = _read_part(handle, expected - form.index_bytes, form.index_bytes)
        places = self._places(tail, form, expected)
        data = np.empty(len(numbers) * form.pitch, np.uint8)
        codec = numcodecs.Blosc()
        for place, chunk in enumerate(numbers.tolist()):
            offset, size = places[chunk]
            part = _read_part(handle, offset, size)[: size - CRC_BYTES]
            if google_crc32c.value(part) != checksums[chunk]:
                raise CacheError(
                    f"chunk {chunk} whose checksum is not the ledger's", "the same", "Repair it."
                )
            # A Blosc buffer says in its header how many bytes come out of it.
            decoded = int.from_bytes(part[4:8].tobytes(), "little")
            if decoded != form.chunk_bytes:
                raise CacheError(f"{decoded} bytes in chunk {chunk}", f"{form.chunk_bytes}", "Do not use it.")
            start = place * form.pitch
            codec.decode(part.tobytes(), data[start : start + form.chunk_bytes])
        return data

    def _places(self, data: np.ndarray[Any, Any], form: FileForm, nbytes: int) -> list[tuple[int, int]]:
        """Offset and bytes, checksum included, of every chunk; ``data`` ends where the file of ``nbytes`` does."""
        if self.plan.compression is None:
            return [(chunk * form.pitch, form.pitch) for chunk in range(form.n_chunks)]
        assert form.slots is not None
        index = data[len(data) - form.index_bytes :]
        content, checksum = index[:-CRC_BYTES], index[-CRC_BYTES:]
        if (
            len(index) < form.index_bytes
            or int(google_crc32c.value(content)).to_bytes(CRC_BYTES, "little") != checksum.tobytes()
        ):
            raise CacheError("the index of the file is damaged", "a whole index", "Repair it.")
        entries = content.view("<u8").reshape(*form.slots, INDEX_ENTRY_BYTES // 8)
        own = entries[tuple(slice(0, n) for n in form.grid)].reshape(-1, 2).tolist()
        for offset, size in own:
            if not CRC_BYTES < size <= form.chunk_bytes * 2 + 4096 or offset + size > nbytes:
                raise CacheError("an index that leads out of the file", "a whole index", "Repair it.")
        return [(int(offset), int(size)) for offset, size in own]

    def _checksums(self, sample: int, number: int) -> np.ndarray[Any, Any]:
        first = self.plan.first_chunks
        return self.stored[sample].checksums[first[number] : first[number + 1]]

    def _chunk_labels(
        self, sample: int, shard: tuple[int, ...], form: FileForm, chunk: int
    ) -> dict[str, Any]:
        at = np.unravel_index(chunk, form.grid)
        region = tuple(
            slice(whole.start + int(i) * c, min(whole.start + (int(i) + 1) * c, whole.stop))
            for whole, i, c in zip(self.plan.region(shard), at, self.plan.chunk, strict=True)
        )
        return region_labels(self.plan, self.schema, sample, region)

    def _unreadable(
        self, sample: int, shard: tuple[int, ...], form: FileForm, chunk: int, reason: str
    ) -> CacheError:
        labels = in_words(self._chunk_labels(sample, shard, form, chunk))
        return CacheError(
            f"unreadable data at {labels} in {self.plan.file_name(sample, shard)} of {self.store} ({reason})",
            "what was recorded",
            "ditscope.cache.verify names every damaged chunk; ds.repair(model, path) records them anew.",
        )


@dataclass(frozen=True)
class FileRead:
    """What a selection takes from one of each sample's files.

    Attributes:
        shard: grid position of the file.
        number: of the file in the order of the array's files.
        form: of the file.
        touched: how many chunks along each axis.
        chunks: numbers of these chunks.
        place: index of where the values go.
        pairs: shape of that place as pairs of axes, where chunks go there as they are, but for their last axis; else
            None.
        last: where along the last axis, (chunk, inside of it), is what is taken, if that are not whole chunks.
        lengths: of the touched chunks along each axis.
        positions: index of what is taken of them.
    """

    shard: tuple[int, ...]
    number: int
    form: FileForm
    touched: tuple[int, ...]
    chunks: np.ndarray[Any, Any]
    place: Any
    pairs: list[int] | None
    last: list[tuple[int, int]] | None
    lengths: tuple[int, ...]
    positions: Any

    def copy(self, target: np.ndarray[Any, Any], values: np.ndarray[Any, Any], first: int = 0) -> None:
        """Copy touched chunks, from the ``first`` along the last axis on, into a view of :attr:`pairs`."""
        chunks = values.shape[-2]
        if self.last is None:
            copy_runs(target[..., first : first + chunks, :], values)
            return
        for position, (chunk, inside) in enumerate(self.last):
            if first <= chunk < first + chunks:
                target[..., position] = values[..., chunk - first, inside]


@dataclass(frozen=True)
class _Part:
    """The part of a selection along one axis that lies in one file."""

    file: int
    inside: np.ndarray[Any, Any]
    place: Any


def _first_wrong(
    data: np.ndarray[Any, Any], form: FileForm, numbers: np.ndarray[Any, Any], checksums: np.ndarray[Any, Any]
) -> int | None:
    """The first of chunks that lie one behind the other which has another checksum than the ledger's."""
    for place, chunk in enumerate(numbers.tolist()):
        if google_crc32c.value(form.chunk_of(data, place)) != checksums[chunk]:
            return int(chunk)
    return None


def _announce(handle: int, form: FileForm, rows: Iterable[np.ndarray[Any, Any]]) -> None:
    """Have chunks of a row that are no neighbours fetched side by side.

    What is read in order, piece by piece, the system fetches ahead by itself, in larger pages: told of it, it takes
    twice as long.
    """
    for places in (_places_of(row, form) for row in rows):
        if len(places) > 1:
            files.announce(handle, places)


def _places_of(numbers: np.ndarray[Any, Any], form: FileForm) -> list[tuple[int, int]]:
    """Offset and bytes of chunks that are not compressed, in one where they are neighbours in the file."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1) if len(numbers) > 1 else [numbers]
    return [(int(run[0]) * form.pitch, len(run) * form.pitch) for run in runs]


def _by_file(positions: np.ndarray[Any, Any], length: int) -> list[_Part]:
    """Positions along an axis by the file that they are in; ``place`` is where they are among the positions."""
    if len(positions) == 0:
        return []
    number = positions // length
    if number[0] == number[-1] and (number == number[0]).all():
        return [_Part(int(number[0]), positions - number[0] * length, slice(0, len(positions)))]
    parts = []
    for file in _distinct(number).tolist():
        at = np.flatnonzero(number == file)
        run = at[-1] - at[0] + 1 == len(at)
        place = slice(int(at[0]), int(at[-1]) + 1) if run else at
        parts.append(_Part(file, positions[at] - file * length, place))
    return parts


def _distinct(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What ``numpy.unique`` returns, which takes long for thousands of numbers; most are in order already."""
    steps = np.diff(numbers)
    return np.unique(numbers) if (steps < 0).any() else numbers[np.append(True, steps > 0)]


def _listed(place: Any) -> np.ndarray[Any, Any]:
    return np.arange(place.start, place.stop) if isinstance(place, slice) else place


def _memory(size: int) -> np.ndarray[Any, Any]:
    """Memory of this thread, filled again at every read: what the system hands out anew costs more than the copy."""
    kept = getattr(_scratch, "data", None)
    if kept is None or len(kept) < size:
        kept = _scratch.data = np.empty(max(size, 2**20), np.uint8)
    return kept[:size]


@contextlib.contextmanager
def _own_memory(size: int) -> Iterator[np.ndarray[Any, Any]]:
    """The same, which no other read of this thread fills inside the block."""
    data, whole = _memory(size), _scratch.data
    _scratch.data = None
    try:
        yield data
    finally:
        _scratch.data = whole


def _read_part(handle: int, offset: int, size: int) -> np.ndarray[Any, Any]:
    data = np.empty(size, np.uint8)
    got = files.read_into(handle, offset, data.data) if offset >= 0 else 0
    if got < size:
        raise CacheError(f"{got} of {size} bytes", "all of them", "The file was cut short.")
    return data
