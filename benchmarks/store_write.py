"""Writing hidden states: this store beside what one would do instead.

The same bfloat16 tensors ``[token, channel]``, one per (step, branch, block), are written and synced by

* ditscope's ``CacheWriter`` (shards, checksums, ledger; memory bounded),
* ``numpy.save`` and ``fsync`` of one file per tensor (bfloat16 as uint16),
* zarr-python into the same sharded layout, each shard synced.

Rounds alternate and medians are compared, since a disk's speed drifts. A reading of eight channels of all
tokens follows, where a layout without channel chunks has to read everything.

    python benchmarks/store_write.py [--mb 100] [--rounds 3] [--seconds 20] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ditscope.cache import (
    Address,
    BlockSpec,
    CacheWriter,
    Reading,
    SampleSpec,
    Schema,
    StepSpec,
    StreamSpec,
    build_manifest,
    open_cache,
)
from ditscope.cache.bfloat16 import DTYPE
from ditscope.cache.layout import plan_arrays

STEPS, BRANCHES, BLOCKS, CHANNELS = 4, 2, 8, 512
FEW = [3, 60, 130, 131, 260, 300, 400, 511]


def make_schema(megabytes: int) -> Schema:
    side = max(2, round((megabytes * 1e6 / (STEPS * BRANCHES * BLOCKS * CHANNELS * 2)) ** 0.5))
    return Schema(
        streams=(StreamSpec("image", side * side, side, side),),
        sites=("block_output",),
        blocks=tuple(BlockSpec(i, f"double.{i}", "double") for i in range(BLOCKS)),
        steps=tuple(StepSpec(i, 1 - i / STEPS, 1000 * (1 - i / STEPS)) for i in range(STEPS)),
        branches=("cond", "uncond"),
        channels=tuple(range(CHANNELS)),
        width=CHANNELS,
        dtype="bfloat16",
        samples=(SampleSpec("benchmark", 0),),
        stats=False,
        shard_bytes=16 * 2**20,
    )


def create_ditscope(path: Path, schema: Schema) -> CacheWriter:
    return CacheWriter.create_or_resume(path, schema, build_manifest(schema, {}))


def write_ditscope(writer: CacheWriter, schema: Schema, tensors: np.ndarray) -> None:
    with writer:
        for step, branch, block in np.ndindex(STEPS, BRANCHES, BLOCKS):
            address = Address("image", "block_output", step, schema.branches[branch], block)
            writer.put(Reading(address, [0], hidden=tensors[step, branch, block][None]))
        writer.commit(0)


def create_numpy(path: Path, schema: Schema) -> Path:
    path.mkdir()
    return path


def write_numpy(path: Path, schema: Schema, tensors: np.ndarray) -> None:
    for index in np.ndindex(STEPS, BRANCHES, BLOCKS):
        with (path / f"{'-'.join(map(str, index))}.npy").open("wb") as file:
            np.save(file, tensors[index].view(np.uint16))
            file.flush()
            os.fsync(file.fileno())


def create_zarr(path: Path, schema: Schema) -> zarr.Array:
    plan = plan_arrays(schema)["image/block_output"]
    return zarr.create_array(
        path,
        shape=plan.shape,
        chunks=plan.chunk,
        shards=plan.shard,
        dtype=DTYPE,
        compressors=[zarr.codecs.Crc32cCodec()],
        config={"write_empty_chunks": True},
    )


def write_zarr(array: zarr.Array, schema: Schema, tensors: np.ndarray) -> None:
    plan = plan_arrays(schema)["image/block_output"]
    for shard in plan.shards(0):
        region = plan.region(shard)
        array[region] = tensors[region[1:]][None]
        with Path(array.store.root, "c", *map(str, shard)).open("rb") as file:
            os.fsync(file.fileno())


def read_ditscope(path: Path) -> np.ndarray:
    return open_cache(path).hidden(channels=FEW).values[0]


def read_numpy(path: Path) -> np.ndarray:
    files = [path / f"{'-'.join(map(str, index))}.npy" for index in np.ndindex(STEPS, BRANCHES, BLOCKS)]
    read = np.stack([np.load(file)[:, FEW] for file in files]).view(DTYPE)
    return read.reshape(STEPS, BRANCHES, BLOCKS, *read.shape[1:])


def read_zarr(path: Path) -> np.ndarray:
    return zarr.open_array(path, mode="r").oindex[0, ..., FEW]


WAYS: dict[str, tuple[Callable[..., Any], Callable[..., None], Callable[[Path], np.ndarray]]] = {
    "ditscope": (create_ditscope, write_ditscope, read_ditscope),
    "numpy.save + fsync": (create_numpy, write_numpy, read_numpy),
    "zarr-python": (create_zarr, write_zarr, read_zarr),
}


def forget(path: Path) -> None:
    """Ask the system to drop the files from memory, so that reading reaches the disk."""
    for file in path.rglob("*"):
        if file.is_file() and hasattr(os, "posix_fadvise"):
            with file.open("rb") as handle:
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=100, help="megabytes written per round and way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="no new round is begun after this time")
    parser.add_argument("--folder", default=None, help="where to write; a temporary folder by default")
    options = parser.parse_args()

    schema = make_schema(options.mb)
    shape = (STEPS, BRANCHES, BLOCKS, schema.streams[0].tokens, CHANNELS)
    tensors = np.random.default_rng(0).normal(size=shape).astype(np.float32).astype(DTYPE)
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in WAYS}
    folder = Path(tempfile.mkdtemp(prefix="ditscope-benchmark-", dir=options.folder))
    begin = time.perf_counter()
    try:
        for turn in range(options.rounds):
            if turn and time.perf_counter() - begin > options.seconds * turn / (turn + 1):
                break
            for name, (create, write, read) in WAYS.items():
                path = folder / "store"
                moments = [time.perf_counter()]
                target = create(path, schema)
                moments.append(time.perf_counter())
                write(target, schema, tensors)
                moments.append(time.perf_counter())
                forget(path)
                start = time.perf_counter()
                few = read(path)
                reading = time.perf_counter() - start
                times[name].append((moments[1] - moments[0], moments[2] - moments[1], reading))
                np.testing.assert_array_equal(few.view(np.uint16), tensors[..., FEW].view(np.uint16))
                shutil.rmtree(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(times, tensors.nbytes)


def report(times: dict[str, list[tuple[float, ...]]], nbytes: int) -> None:
    medians = {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for name, rows in times.items()
    }
    own = medians["ditscope"]
    rounds = len(times["ditscope"])
    print(f"{nbytes / 1e6:.0f} MB of bfloat16, medians of {rounds} rounds; ratio is time over ditscope's")
    print(f"{'':20} {'create once':>11} {'write and sync':>14} {'ratio':>6} {'8 channels':>11} {'ratio':>6}")
    for name, (create, write, read) in medians.items():
        print(
            f"{name:20} {create * 1e3:8.0f} ms {nbytes / 1e6 / write:9.0f} MB/s {write / own[1]:5.2f}x "
            f"{read * 1e3:8.1f} ms {read / own[2]:5.2f}x"
        )


if __name__ == "__main__":
    main()
