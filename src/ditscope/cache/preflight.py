"""What is settled before a recording touches the disk: configuration, memory, room."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ditscope.cache.forecast import forecast_of
from ditscope.cache.layout import ArrayPlan, plan_arrays, readable_bytes
from ditscope.cache.manifest import differences, listed
from ditscope.cache.schema import Schema
from ditscope.cache.shard_encoding import most_encoded_bytes
from ditscope.errors import CacheError, ConfigMismatchError, InputError

MEMORY_BUDGET = 512 * 2**20
"""Bytes that buffers of a recording may take."""

THREADS = 2
"""Files that are written at once."""

_DISK_BLOCK = 4096

_FILES, _LEAST_FILE = 4, 4 * 2**20
"""Files that an array of a sample has by default, unless they would be smaller than so many bytes."""


def check_memory(
    schema: Schema, plans: Mapping[str, ArrayPlan], samples: int, budget: int, beside: int = 0
) -> None:
    """See that a recording in execution order fits into its memory budget.

    Args:
        schema: of the store.
        plans: its arrays.
        samples: how many are recorded.
        budget: bytes.
        beside: bytes that must have room beside files.

    Raises:
        InputError: it does not fit.
    """
    least = least_memory(plans, min(schema.batch_size, max(1, samples))) + encoding_memory(plans) + beside
    largest = max(plan.largest_file_bytes for plan in plans.values())
    if budget < least:
        raise InputError(
            f"memory_budget of {readable_bytes(budget)}",
            f"at least {readable_bytes(least)} for files of {readable_bytes(largest)} at "
            f"batch size {schema.batch_size}",
            "Raise memory_budget, or lower shard_bytes or the batch size.",
        )


def least_memory(plans: Mapping[str, ArrayPlan], batch: int) -> int:
    """Bytes that a recording in execution order takes for its files.

    It keeps one file of every array open per sample of the batch and, unless files span the branches, per branch;
    one more is on its way to disk.
    """
    opened = sum(
        plan.largest_file_bytes * dict(zip(plan.dims, plan.grid, strict=True)).get("branch", 1)
        for plan in plans.values()
        if plan.kind not in ("trajectory", "images")  # which are put whole, when the run is over
    )
    return opened * batch + max(plan.largest_file_bytes for plan in plans.values())


def encoding_memory(plans: Mapping[str, ArrayPlan], threads: int = THREADS) -> int:
    """Bytes in which compressed chunks wait for the disk: one in each thread that writes."""
    compressed = [plan for plan in plans.values() if plan.compression is not None]
    sizes = [most_encoded_bytes(math.prod(plan.chunk) * plan.numpy_dtype.itemsize) for plan in compressed]
    return threads * max(sizes, default=0)


def fitting_shard_bytes(schema: Schema, beside: int = 0) -> int:
    """The byte target of a file with which a recording goes well, if the user names none.

    It is the schema's, or a fraction with which a sample has several files: one that is complete is written while the
    model goes on, and its memory is filled again, where a single one would wait for the end. And it is the largest
    half, quarter, ... of that which needs the usual memory.

    Args:
        schema: of the store.
        beside: bytes that must have room beside files.
    """
    whole = max(sum(plan.file_bytes) for plan in plan_arrays(schema).values())
    target = min(schema.shard_bytes, max(whole // _FILES, _LEAST_FILE))
    while target > 2**20:
        try:
            own = replace(schema, shard_bytes=target)
            check_memory(own, plan_arrays(own), schema.batch_size, MEMORY_BUDGET, beside)
            return target
        except InputError:
            target //= 2
    return target


def check_same(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """See that the cache at ``path`` is of the configuration that is to be recorded.

    Raises:
        ConfigMismatchError: it is not; the message names the fields that differ.
    """
    if found["config_hash"] == expected["config_hash"]:
        return
    raise ConfigMismatchError(
        f"a cache at {path} that was recorded with another configuration "
        f"({listed(differences(found, expected))})",
        "the configuration that is to be recorded",
        "Record with that configuration to go on with it, or choose another path.",
    )


def check_disk(path: Path, plans: Mapping[str, ArrayPlan], samples: int) -> None:
    """See that the disk has room for ``samples`` samples.

    Raises:
        CacheError: it has not; the message has both figures.
    """
    need = forecast_of(plans, samples)
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if need.total + need.shards * _DISK_BLOCK > free:
        raise CacheError(
            f"{readable_bytes(free)} free at {existing}",
            f"room for {need}",
            "Free some space, choose another disk, or record fewer samples, blocks, steps or channels.",
        )
