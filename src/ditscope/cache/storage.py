"""Bytes on disk: arrays through TensorStore, small files durably, checksums of files.

TensorStore writes a shard to a temporary name, syncs it and renames it, so a shard file is either whole
or absent. What it does not sync are the directories it made on the way; ``sync`` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from ditscope.cache.layout import ArrayPlan
from ditscope.errors import CacheError

CONTEXT = {"file_io_sync": True}
"""TensorStore's settings: every file is synced before it gets its name."""


def codecs(plan: ArrayPlan) -> list[dict[str, Any]]:
    """The zarr v3 codecs of an array. Every chunk, and every shard's index, ends in a CRC-32C."""
    size = plan.numpy_dtype.itemsize
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if size > 1:
        to_bytes["configuration"] = {"endian": "little"}
    chain: list[dict[str, Any]] = [to_bytes]
    if plan.compression == "zstd":
        # Level 1 behind a byte shuffle: the exponents of neighbours compress, the mantissas do not.
        blosc = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": size, "blocksize": 0}
        chain.append({"name": "blosc", "configuration": blosc})
    chain.append({"name": "crc32c"})
    if not plan.sharded:
        return chain
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": list(plan.chunk),
        "codecs": chain,
        "index_codecs": index,
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": sharding}]


def array_metadata(plan: ArrayPlan) -> dict[str, Any]:
    """The array's ``zarr.json``, without its attributes."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(plan.shape),
        "data_type": plan.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(plan.shard)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if plan.fill_value != plan.fill_value else plan.fill_value,
        "codecs": codecs(plan),
        "dimension_names": list(plan.dims),
        "storage_transformers": [],
    }


def open_array(store: Path, plan: ArrayPlan, *, write: bool = False) -> Any:
    """Open an array of the store as a TensorStore."""
    return tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{store.resolve() / plan.path}/"},
            "context": CONTEXT,
            # Without this a chunk of zeros would be left out, and a file's presence would say nothing.
            "store_data_equal_to_fill_value": True,
        },
        open=True,
        read=True,
        write=write,
    ).result()


def write_shard(array: Any, plan: ArrayPlan, shard: tuple[int, ...], values: np.ndarray[Any, Any]) -> None:
    """Write one shard, whole, and return when it is on disk."""
    array[plan.region(shard)].write(values, can_reference_source_data_indefinitely=True).result()


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits.

    CRC-32C would not do here: every chunk and index in the file ends in its own CRC-32C, which makes that
    of the whole file a function of the pieces' lengths alone.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_file_size(path: Path) -> int | None:
    """Size of a plain file in bytes; None if there is none, or something else (a link, a folder)."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file so that after a crash it is either as before or complete."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file of the store.

    Raises:
        CacheError: the file is missing or not JSON; ``what`` says what it should be.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CacheError(
            f"no readable file {path} ({error.strerror})",
            what,
            "The store was cut short: fetch it again, or record into a new path.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise CacheError(
            f"{path} which is not JSON ({error})",
            what,
            "The store is damaged: fetch it again, or record into a new path.",
        ) from error
