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
        whole = _labels(plan, cache.schema, plan.region(shard))
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
            yield Damage(plan.file_name(shard), _labels(plan, schema, region), reason)


def _labels(plan: ArrayPlan, schema: Schema, region: tuple[slice, ...]) -> dict[str, Any]:
    """Labels of a region: stream and site from the path, the rest from the schema's axes."""
    parts = plan.path.split("/")
    named: dict[str, Any] = {"array": plan.path}
    if parts[0] in schema.stream_names:
        named["stream"] = parts[0]
        if plan.kind in ("tensors", "modulation", "stats"):
            named["site"] = parts[2] if plan.kind == "stats" else parts[1]
    steps = schema.trajectory.steps if plan.kind == "trajectory" and schema.trajectory else schema.steps
    axes: dict[str, list[Any]] = {
        "step": [step.index for step in steps],
        "branch": list(schema.branches),
        "block": [block.index for block in schema.blocks],
        "channel": list(schema.channels),
    }
    for dim, part, length in zip(plan.dims, region, plan.shape, strict=True):
        values = axes.get(dim)
        first, last = (
            (part.start, part.stop - 1) if values is None else (values[part.start], values[part.stop - 1])
        )
        if first == last:
            named[dim] = first
        elif part.stop - part.start < length or dim in axes:
            named[dim] = (first, last)
    return named
