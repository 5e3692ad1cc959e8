"""Reading a whole store to see that it is what was recorded, and naming each chunk that is not.

Every chunk is compared with its checksum in the ledger, which notices any change, a swapped file included; metadata
and labels with what follows from manifest and ledger. Damage is named by labels, not by file offsets.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from ditscope._display import printable
from ditscope.cache import files
from ditscope.cache.chunk_reading import ChunkSource
from ditscope.cache.labels import in_words
from ditscope.cache.layout import readable_bytes
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.sample_ledger import Entry
from ditscope.cache.store_opening import Store
from ditscope.cache.zarr_metadata import different_files, zarr_files
from ditscope.errors import CacheError

_AHEAD = 64 * 2**20
"""Bytes of a sample that are asked of the disk before they are compared."""


@dataclass(frozen=True)
class Damage:
    """One damaged chunk, or a file that is damaged as a whole.

    Attributes:
        file: the file, relative to the store.
        labels: axis -> label or, for an axis that the chunk spans, ``(first, last)`` label; with
            ``stream`` and ``site`` where they apply.
        reason: what is wrong.
    """

    file: str
    labels: dict[str, Any]
    reason: str

    def __str__(self) -> str:
        where = in_words(self.labels)
        return f"{where}: {self.reason} ({self.file})" if where else f"{self.reason} ({self.file})"


@dataclass(frozen=True)
class Verification:
    """What reading a whole store has shown, damage above all; made by :func:`verify`.

    Attributes:
        path: the store.
        samples: committed samples that were read.
        files: files that were read.
        nbytes: bytes that were read.
        damaged: every damaged chunk, file of metadata, and line of the ledger.
    """

    path: str
    samples: int
    files: int
    nbytes: int
    damaged: tuple[Damage, ...]

    @property
    def damaged_samples(self) -> tuple[int, ...]:
        """Positions of the committed samples that are damaged."""
        return tuple(sorted({found.labels["sample"] for found in self.damaged if "sample" in found.labels}))

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    def __str__(self) -> str:
        read = f"{self.files} files, {readable_bytes(self.nbytes)}, {self.samples} committed samples"
        if self.ok:
            return f"{self.path}: all as recorded ({read})"
        listed = "\n".join(f"  {damage}" for damage in self.damaged)
        return printable(f"{self.path}: {len(self.damaged)} damages ({read})\n{listed}")


def verify(source: str | os.PathLike[str] | Cache) -> Verification:
    """Read every file of every committed sample and name each damaged chunk by its labels.

    Args:
        source: a cache or its path.

    Raises:
        CacheError: it is no cache, or its metadata is damaged.

    Examples:
        >>> ds.verify(cache).ok
        True
    """
    cache = source if isinstance(source, Cache) else open_cache(source)
    damaged = [Damage(line.split(":")[0], {}, line) for line in cache.damaged_lines]
    content = zarr_files(cache.schema, cache.plans, cache.manifest, cache.whole_ledger)
    damaged += [
        Damage(name, {}, "other metadata or labels than manifest and ledger say")
        for name in different_files(cache.path, content)
    ]
    nbytes = sum(map(len, content.values()))
    n_files = len(content)
    sources = {path: cache.source(path) for path in cache.plans}
    listed = [(entry, path) for entry in cache.ledger.values() for path in cache.plans]
    for entry, path in tqdm(listed, desc="verify", unit="array", disable=None):
        sizes = entry.files[path].file_sizes(cache.plans[path])
        nbytes, n_files = nbytes + sum(sizes), n_files + len(sizes)
        damaged += [Damage(*found) for found in sources[path].damaged(entry.sample)]
    return Verification(str(cache.path), len(cache.ledger), n_files, nbytes, tuple(damaged))


def require_whole(store: Store, entries: Sequence[Entry]) -> None:
    """Read committed samples and see that they are what was recorded.

    Args:
        store: as it was opened.
        entries: what its ledger says of the samples.

    Raises:
        CacheError: one is damaged; the message names the place.
    """
    for entry in entries[:1]:
        _announce(store, entry)
    progress = tqdm(entries, desc="check what is there", unit="image", disable=None)
    for number, entry in enumerate(progress, 1):
        for following in entries[number : number + 1]:
            _announce(store, following)
        for array, plan in store.plans.items():
            source = ChunkSource(store.path, store.schema, plan, {entry.sample: entry.files[array]})
            for found in source.damaged(entry.sample):
                raise CacheError(
                    f"damage in a committed sample: {Damage(*found)}",
                    "what was recorded",
                    "ds.repair(model, path) records damaged samples anew; check_committed=False skips this.",
                )


def _announce(store: Store, entry: Entry) -> None:
    """Let the system fetch the beginnings of a sample's files, while another's are compared."""
    ahead = 0
    for plan in store.plans.values():
        for name in (plan.file_name(entry.sample, shard) for shard in plan.shards):
            if ahead >= _AHEAD:
                return
            # What cannot be opened is said, by its labels, where it is read.
            with contextlib.suppress(OSError, CacheError), files.opened(store.path / name) as handle:
                size = files.nbytes_of(handle)
                files.announce(handle, [(0, size)])
                ahead += size
