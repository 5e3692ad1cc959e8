"""Reading a whole store to see that it is what was recorded, and naming each chunk that is not.

Two checks meet: the ledger's checksum of every file notices any change, a swapped file included; the
checksum in every chunk then says which one it is. Damage is named by labels, not by file offsets.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ditscope.cache import storage
from ditscope.cache.labels import region_labels
from ditscope.cache.layout import ArrayPlan, readable_bytes
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.schema import Schema


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
        named = ", ".join(
            f"{name} {value[0]} to {value[1]}" if isinstance(value, tuple) else f"{name} {value}"
            for name, value in self.labels.items()
        )
        return f"{named}: {self.reason} ({self.file})"


@dataclass(frozen=True)
class Verification:
    """What reading a whole store has shown, damage above all; made by :func:`verify`.

    Attributes:
        path: the store.
        samples: committed samples that were read.
        files: files that were read.
        nbytes: bytes that were read.
        damaged: every damaged chunk.
    """

    path: str
    samples: int
    files: int
    nbytes: int
    damaged: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    def __str__(self) -> str:
        read = f"{self.files} files, {readable_bytes(self.nbytes)}, {self.samples} committed samples"
        if self.ok:
            return f"{self.path}: all as recorded ({read})"
        listed = "\n".join(f"  {damage}" for damage in self.damaged)
        return f"{self.path}: {len(self.damaged)} damaged chunks ({read})\n{listed}"


def verify(source: str | os.PathLike[str] | Cache) -> Verification:
    """Read every file of every committed sample and name each damaged chunk by its labels.

    Args:
        source: a cache or its path.

    Raises:
        CacheError: it is no cache, or its metadata is damaged.
    """
    cache = source if isinstance(source, Cache) else open_cache(source, check_files=False)
    damaged: list[Damage] = []
    nbytes = 0
    listed = [
        (entry, plan, shard)
        for entry in cache.ledger.values()
        for plan in cache.plans.values()
        for shard in plan.shards(entry.sample)
    ]
    for entry, plan, shard in tqdm(listed, desc="verify", unit="file", disable=None):
        name = plan.file_name(shard)
        size, checksum = entry.files[name]
        on_disk = storage.plain_file_size(cache.path / name)
        whole = region_labels(plan, cache.schema, plan.region(shard))
        if on_disk is None:
            damaged.append(Damage(name, whole, "the file is missing"))
            continue
        nbytes += on_disk
        if on_disk == size and storage.file_checksum(cache.path / name) == checksum:
            continue
        chunks = list(_damaged_chunks(cache.path, plan, shard, cache.schema))
        if not chunks:
            reason = f"{on_disk} bytes that read, but are not the {size} recorded"
            chunks = [Damage(name, whole, reason)]
        damaged += chunks
    return Verification(str(cache.path), len(cache.ledger), len(listed), nbytes, tuple(damaged))


def _damaged_chunks(store: Path, plan: ArrayPlan, shard: tuple[int, ...], schema: Schema) -> Iterator[Damage]:
    array = storage.open_array(store, plan)
    axes = (
        [slice(i, min(i + size, part.stop)) for i in range(part.start, part.stop, size)]
        for part, size in zip(plan.region(shard), plan.chunk, strict=True)
    )
    for region in itertools.product(*axes):
        try:
            array[region].read().result()
        except (ValueError, OSError) as error:
            reason = str(error).split("[")[0].rsplit('": ', 1)[-1].strip()
            yield Damage(plan.file_name(shard), region_labels(plan, schema, region), reason)
