"""What a store says to plain zarr readers: metadata of groups and arrays, labels, ``done``.

All of it follows from the manifest and the ledger, as bytes by file name: it is written when a store is created and
when it gains samples, compared when a store is verified, and written again when it is repaired. What ditscope reads
does not depend on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from ditscope.cache import files, labels
from ditscope.cache.labels import Labels
from ditscope.cache.layout import STATISTICS_FOLDER, ArrayPlan
from ditscope.cache.sample_ledger import FILE, Ledger
from ditscope.cache.schema import Schema
from ditscope.cache.shard_encoding import BLOSC
from ditscope.errors import CacheError

ATTRIBUTE = "ditscope"
"""Name of the root attribute that holds the manifest."""

ROOT = "zarr.json"

SAMPLES_PER_CHUNK = 1024
"""Samples in one chunk of a label, which grows with the store."""

_CRC = {"name": "crc32c"}
_MISSING: Mapping[str, Any] = {"string": "(missing)", "int64": -(2**63), "float64": "NaN", "bool": False}
"""What a label that is gone reads as: nothing that could be taken for one."""


def zarr_files(
    schema: Schema,
    plans: Mapping[str, ArrayPlan],
    manifest: Mapping[str, Any],
    ledger: Ledger,
) -> dict[str, bytes]:
    """Every file of metadata and labels, by name relative to the store.

    Args:
        schema: of the store.
        plans: its arrays, by path.
        manifest: of the store.
        ledger: which samples there are, which are committed, and the tensors of calls.
    """
    samples, committed = ledger.samples, ledger.entries
    of_samples = _encoded(labels.sample_labels(samples))
    done = np.isin(np.arange(len(samples)), list(committed))
    nodes: dict[str, str] = {}
    content: dict[str, bytes] = {}

    def group(path: str, coordinates: _Encoded, attributes: dict[str, Any], also: Sequence[str] = ()) -> None:
        # The CF convention: xarray makes coordinates of the variables named here.
        names = [name for name, label in coordinates.items() if label.dims != (name,)]
        if coordinates:
            attributes = {**attributes, "coordinates": " ".join([*names, *also])}
        nodes[path] = _text({"attributes": attributes, "zarr_format": 3, "node_type": "group"})
        for name, label in coordinates.items():
            own = f"{path}/{name}".lstrip("/")
            nodes[own] = label.metadata
            content.update((f"{own}/c.{number}", chunk) for number, chunk in enumerate(label.chunks))

    group("", of_samples | _encoded({"done": (("sample",), done)}), {ATTRIBUTE: dict(manifest)})
    for stream in schema.streams:
        of_stream: dict[str, Any] = {"stream": stream.name}
        if stream.has_grid:
            of_stream |= {"grid_height": stream.grid_height, "grid_width": stream.grid_width}
        of_tokens = _encoded(labels.token_labels(stream))
        own, also = {}, []
        if f"{stream.name}/token_mask" in plans:
            own, also = of_samples | _encoded(labels.branch_labels(schema)) | of_tokens, ["token_mask"]
        elif f"{stream.name}/token_id" in plans:
            own = of_samples | of_tokens
        group(stream.name, own, of_stream, also)
        for site in (site for site in schema.sites if site.stream == stream.name):
            of_site = {**of_stream, "site": site.name, "dtype": schema.dtype}
            coordinates = of_samples | _encoded(labels.site_labels(schema, site))
            hidden = f"{site.folder}/hidden" in plans
            group(site.folder, coordinates | (of_tokens if hidden else {}), of_site)
            if any(path.startswith(f"{site.folder}/{STATISTICS_FOLDER}/") for path in plans):
                path = f"{site.folder}/{STATISTICS_FOLDER}"
                group(path, coordinates | _encoded(labels.statistic_labels(schema)), of_site)
    if schema.trajectory is not None:
        group("trajectory", of_samples | _encoded(labels.trajectory_labels(schema)), {})
    for plan in plans.values():
        nodes[plan.path] = _text(array_metadata(plan, len(samples)))
    if ledger.tensors:
        group("call", {}, {})
    for digest, values in ledger.tensors.items():
        # Chunks have no axis of length 0.
        path, chunk = f"call/t{digest}", [max(1, n) for n in values.shape]
        dims = [f"axis_{axis}" for axis in range(values.ndim)]
        chain = [_bytes(values.dtype.itemsize), _CRC]
        nodes[path] = _text(
            _array(dims, values.shape, chunk, str(values.dtype), 0, chain, {"digest": digest})
        )
        content[f"{path}/c{''.join('.0' for _ in dims)}"] = _with_checksum(values.tobytes())
    dtypes = {plan.dtype for plan in plans.values()} | {str(own.dtype) for own in ledger.tensors.values()}
    if "bfloat16" not in dtypes:
        # A zarr that does not know bfloat16 parses consolidated metadata whole, and could open nothing at all.
        nodes[""] = _with_consolidated(nodes[""], {path: nodes[path] for path in sorted(nodes) if path})
    content.update((f"{path}/{ROOT}".lstrip("/"), text.encode("ascii")) for path, text in nodes.items())
    return content


def done_file(samples: int, committed: Collection[int], sample: int) -> tuple[str, bytes]:
    """The file that says that a sample is done, and its bytes."""
    chunk = sample // SAMPLES_PER_CHUNK
    first = chunk * SAMPLES_PER_CHUNK
    done = (at in committed and at < samples for at in range(first, first + SAMPLES_PER_CHUNK))
    return f"done/c.{chunk}", _with_checksum(bytes(done))


def require_done_in_ledger(store: Path, ledger: Ledger) -> None:
    """See that what ``done`` says is done is in the ledger, or else that was cut short.

    A sample is written there after its line in the ledger, and stays there for a moment after it was dropped.

    Raises:
        CacheError: the ledger lacks samples that were committed once.
    """
    known = {*ledger.entries, *ledger.dropped}
    for chunk in range(math.ceil(len(ledger.samples) / SAMPLES_PER_CHUNK) + 1):
        try:
            content = files.read(store / f"done/c.{chunk}")
        except OSError:
            continue
        done = np.frombuffer(content[:SAMPLES_PER_CHUNK], bool)
        if content != _with_checksum(done.tobytes()) or len(done) < SAMPLES_PER_CHUNK:
            continue  # damaged itself
        lost = sorted({int(at) + chunk * SAMPLES_PER_CHUNK for at in np.flatnonzero(done)} - known)
        if lost and not ledger.damaged:
            raise CacheError(
                f"a ledger at {store} without sample {lost[0]}, which was committed ({len(lost)} such samples)",
                "all committed samples",
                f"Fetch {FILE} again; or remove {store / 'done'}/c.* to give these samples up, and record them anew.",
            )


def different_files(store: Path, content: Mapping[str, bytes]) -> list[str]:
    """Names of the files that are missing, are links or otherwise no plain files, or have other bytes."""
    is_folder: dict[Path, bool] = {}
    different = []
    for name, expected in content.items():
        path = store / name
        try:
            if (folder := path.parent) not in is_folder:
                is_folder[folder] = False
                files.require_folders(store, [folder])
                is_folder[folder] = True
            same = is_folder[folder] and files.read(path, len(expected)) == expected
        except (OSError, CacheError):
            same = False
        if not same:
            different.append(name)
    return different


def array_metadata(plan: ArrayPlan, samples: int) -> dict[str, Any]:
    """An array's ``zarr.json``."""
    parts = plan.path.split("/")
    attributes = {"stream": parts[0], "site": parts[1]} if plan.kind in ("tensors", "modulation") else {}
    fill = "NaN" if plan.fill_value != plan.fill_value else plan.fill_value
    return _array(
        ("sample", *plan.dims),
        (samples, *plan.shape),
        (1, *plan.shard),
        plan.dtype,
        fill,
        codecs(plan),
        attributes,
    )


def codecs(plan: ArrayPlan) -> list[dict[str, Any]]:
    """The zarr v3 codecs of an array. Every chunk, and every file's index, ends in a CRC-32C."""
    size = plan.numpy_dtype.itemsize
    chain = [_bytes(size)]
    if plan.compression == "zstd":
        blosc = {
            "cname": BLOSC["cname"],
            "clevel": BLOSC["clevel"],
            "shuffle": "shuffle",
            "typesize": size,
            "blocksize": 0,
        }
        chain.append({"name": "blosc", "configuration": blosc})
    chain.append(_CRC)
    if not plan.sharded:
        return chain
    sharding = {
        "chunk_shape": [1, *plan.chunk],
        "codecs": chain,
        "index_codecs": [_bytes(8), _CRC],
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": sharding}]


def _bytes(itemsize: int) -> dict[str, Any]:
    codec: dict[str, Any] = {"name": "bytes"}
    return codec if itemsize == 1 else {**codec, "configuration": {"endian": "little"}}


def _array(
    dims: Sequence[str],
    shape: Sequence[int],
    chunk: Sequence[int],
    dtype: str,
    fill: Any,
    codecs: list[dict[str, Any]],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": codecs,
        "attributes": dict(attributes),
        "dimension_names": list(dims),
        "storage_transformers": [],
    }


class _Label(NamedTuple):
    """A label's dims, the text of its metadata, and its chunks."""

    dims: tuple[str, ...]
    metadata: str
    chunks: list[bytes]


_Encoded = dict[str, _Label]


def _encoded(coordinates: Labels) -> _Encoded:
    return {name: _label(dims, values) for name, (dims, values) in coordinates.items()}


def _label(dims: tuple[str, ...], values: np.ndarray[Any, Any]) -> _Label:
    dtype = "string" if values.dtype == object else str(values.dtype)
    length = SAMPLES_PER_CHUNK if dims == ("sample",) else max(1, len(values))
    first = {"name": "vlen-utf8", "configuration": {}} if dtype == "string" else _bytes(values.dtype.itemsize)
    node = _array(dims, values.shape, (length,), dtype, _MISSING[dtype], [first, _CRC], {})
    missing = float("nan") if dtype == "float64" else _MISSING[dtype]
    chunks = []
    for start in range(0, len(values), length):
        part = values[start : start + length]
        if dtype == "string":
            encoded = _utf8(part, length)
        else:
            chunk = np.full(length, missing, dtype=values.dtype)
            chunk[: len(part)] = part
            encoded = chunk.tobytes()
        chunks.append(_with_checksum(encoded))
    return _Label(dims, _text(node), chunks)


def _text(node: Mapping[str, Any]) -> str:
    return json.dumps(node, indent=1)


def _with_consolidated(root: str, below: Mapping[str, str]) -> str:
    """The text of the root's metadata with that of all nodes below it, each of which was made into text once."""
    nodes = (f"{json.dumps(path)}: {text}".replace("\n", "\n   ") for path, text in below.items())
    listed = ",\n   ".join(nodes)
    return (
        root.removesuffix("\n}")
        + ',\n "consolidated_metadata": {\n  "kind": "inline",\n  "must_understand": false,\n  "metadata": {\n   '
        + listed
        + "\n  }\n }\n}"
    )


def _utf8(values: np.ndarray[Any, Any], length: int) -> bytes:
    """The zarr codec ``vlen-utf8``: how many, then each with its length before it."""
    # A lone surrogate has no UTF-8; the ledger has the text as it was.
    texts = [value.encode("utf-8", "replace") for value in (*values, _MISSING["string"])]
    *parts, padding = [len(text).to_bytes(4, "little") + text for text in texts]
    return length.to_bytes(4, "little") + b"".join(parts) + padding * (length - len(parts))


def _with_checksum(content: bytes) -> bytes:
    return content + int(google_crc32c.value(content)).to_bytes(4, "little")
