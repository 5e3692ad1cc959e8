"""What is settled before a recording touches the disk: configuration, memory, room."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ditscope.cache.layout import ArrayPlan, forecast, plan_arrays, readable_bytes
from ditscope.cache.manifest import differences, listed
from ditscope.cache.schema import Schema
from ditscope.errors import CacheError, ConfigMismatchError, InputError

_DISK_BLOCK = 4096


def largest_shard(plans: Mapping[str, ArrayPlan]) -> int:
    """Bytes in memory of the largest shard of any array."""
    return max(plan.largest_region_bytes for plan in plans.values())


def memory_budget(schema: Schema, threads: int, asked: int | None) -> int:
    """The memory budget to use, in bytes.

    Recording in execution order keeps one shard of every array open per sample of the batch and, unless
    shards span the branches, per branch. Encoding copies one more per thread, and one is on its way.

    Raises:
        InputError: less was asked for than that.
    """
    plans = plan_arrays(schema)
    opened = sum(
        plan.largest_region_bytes * plan.grid[plan.dims.index("branch")]
        for plan in plans.values()
        if plan.kind not in ("trajectory", "images")  # which are put whole, when the run is over
    )
    opened *= min(schema.batch_size, len(schema.samples))
    least = opened + (threads + 1) * largest_shard(plans)
    if asked is None:
        return least + 2 * largest_shard(plans)
    if asked < least:
        raise InputError(
            f"memory_budget of {readable_bytes(asked)}",
            f"at least {readable_bytes(least)} for shards of {readable_bytes(largest_shard(plans))} at "
            f"batch size {schema.batch_size}",
            "Raise memory_budget, or lower shard_bytes or the batch size.",
        )
    return asked


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


def check_disk(path: Path, schema: Schema, samples: int) -> None:
    """See that the disk has room for ``samples`` samples.

    Raises:
        CacheError: it has not; the message has both figures.
    """
    need = forecast(schema, samples)
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
