"""A recording of a few kilobytes, and what must hold of its store after a fault."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from store_recording import fill, make_manifest, make_schema

from ditscope.cache import (
    CacheWriter,
    SampleSpec,
    StepSpec,
    StoredSite,
    StreamSpec,
    TrajectorySpec,
    open_cache,
)
from ditscope.cache.sample_ledger import FILE
from ditscope.cache.verification import verify

SAMPLES = tuple(SampleSpec(prompt, seed) for prompt in ("a cube", "ein Würfel") for seed in (0, 7))

SMALL = dataclasses.replace(
    make_schema(streams=(StreamSpec("image", 4, 2, 2),)),
    sites=(StoredSite.of("image", "block_output", (0, 4), "bfloat16"),),
    branches=("cond",),
    channels=tuple(range(3, 38)),
    width=40,
    trajectory=None,
    image_height=2,
    image_width=2,
    shard_bytes=600,  # which makes two files of each array
)
"""Few files, for what is done once for each of them or for each operation on them."""

EVERY_ARRAY = dataclasses.replace(
    SMALL,
    streams=(StreamSpec("image", 4, 2, 2), StreamSpec("text", 5)),
    sites=(
        *SMALL.sites,
        StoredSite.of("text", "block_output", (0, 1, 4), "bfloat16"),
        StoredSite.of("image", "attn_gate", (0,), "bfloat16"),
    ),
    trajectory=TrajectorySpec((StepSpec(1, 0.75, 750.0), StepSpec(3, 0.25, 250.0)), 4, 3),
)
COMPRESSED = dataclasses.replace(SMALL, compression="zstd")


def opened(path, samples=SAMPLES[:3], schema=SMALL):
    return CacheWriter.create_or_resume(path, schema, make_manifest(schema), samples, memory_budget=2**20)


def record(path, samples=SAMPLES[:3], said=lambda word: None, drop=(), schema=SMALL):
    """Record what is missing of samples, those that are dropped first too; ``said`` hears what is durable."""
    with opened(path, samples, schema) as writer:
        said("open")
        for sample in sorted(writer.committed.intersection(drop)):
            said(f"drop {sample}")
            writer.drop(sample)
        for sample in writer.positions:
            if sample not in writer.committed:
                fill(writer, sample)
                writer.commit(sample)
                said(f"commit {sample}")
    return path


def story(path, said=lambda word: None):
    """Creation, two samples, growth by a third, one recorded anew, the end."""
    record(path, SAMPLES[:2], said)
    record(path, SAMPLES[:3], said, drop=[0])


def content(path):
    """Every file of a store with its bytes; of the ledger, what it says but for times."""
    found = {str(p.relative_to(path)): p.read_bytes() for p in sorted(Path(path).rglob("*")) if p.is_file()}
    del found[FILE]
    root = json.loads(found.pop("zarr.json"))
    del root["attributes"]["ditscope"]["environment"]
    cache = open_cache(path)
    said = {at: dataclasses.replace(entry, committed="").to_json() for at, entry in cache.ledger.items()}
    return found | {"root": root, "ledger": said, "samples": cache.specs}


def assert_whole(path, said=()):
    """What a fault left is nothing, or a store in which every sample that was said to be committed is whole."""
    sure = set()
    for word in said:
        kind, _, sample = word.partition(" ")
        if sample:
            (sure.add if kind == "commit" else sure.discard)(int(sample))
    if not path.exists():
        assert not said, "the store is gone"
        return
    report = verify(path)
    assert [str(damage) for damage in report.damaged if damage.labels or "ledger" in damage.file] == []
    assert sure <= set(open_cache(path).committed)


def assert_completes(path, expected):
    """Recording again makes what a recording without a fault makes, and leaves nothing beside it."""
    record(path)
    assert content(path) == expected
    assert verify(path).ok
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
