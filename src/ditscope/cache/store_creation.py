"""Laying out a new store with zarr-python: all arrays with their final shapes, labels and manifest.

The store is built under a temporary name beside its path and renamed when it is complete, so
that a path holds a whole empty cache or nothing. Metadata is consolidated in the root, which makes
``xarray.open_datatree`` one read, but where hidden states are bfloat16: a zarr that does not know bfloat16, as
without ditscope, parses consolidated metadata whole and could not open even the statistics and images.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ditscope.cache import bfloat16, labels, sample_ledger, storage
from ditscope.cache.layout import ArrayPlan, plan_arrays
from ditscope.cache.manifest import ATTRIBUTE
from ditscope.cache.schema import Schema
from ditscope.vocabulary import site_spec


def done_plan(schema: Schema) -> ArrayPlan:
    """The array that repeats the ledger for plain zarr readers: one file per sample."""
    return ArrayPlan("done", "done", ("sample",), (len(schema.samples),), (1,), (1,), "bool")


def create_store(path: Path, schema: Schema, manifest: Mapping[str, Any]) -> None:
    """Create an empty cache at ``path``, which must not exist or be an empty folder."""
    bfloat16.register()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        _lay_out(partial, schema, manifest)
        (partial / sample_ledger.FOLDER).mkdir(parents=True)
        _sync_tree(partial)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    storage.sync(path.parent)


def _lay_out(path: Path, schema: Schema, manifest: Mapping[str, Any]) -> None:
    root = zarr.create_group(path, zarr_format=3, attributes={ATTRIBUTE: dict(manifest)})
    plans = plan_arrays(schema)
    _write_labels(root, labels.sample_labels(schema), extra=("done",))
    for stream in schema.streams:
        attributes: dict[str, Any] = {"stream": stream.name}
        if stream.has_grid:
            attributes |= {"grid_height": stream.grid_height, "grid_width": stream.grid_width}
        group = root.create_group(stream.name, attributes=attributes)
        extra = () if stream.has_grid else ("token_mask",)
        _write_labels(group, {**labels.stats_labels(schema), **labels.token_labels(stream)}, extra=extra)
        if schema.stats:
            stats = group.create_group("stats")
            for site in filter(lambda name: site_spec(name).has_tokens, schema.sites):
                inner = stats.create_group(
                    site, attributes={"stream": stream.name, "site": site, "dtype": schema.dtype}
                )
                _write_labels(inner, labels.stats_labels(schema))
    if schema.trajectory is not None:
        _write_labels(root.create_group("trajectory"), labels.trajectory_labels(schema))
    for plan in (done_plan(schema), *plans.values()):
        _create_array(path, plan)
    if schema.dtype == "bfloat16":
        return
    with warnings.catch_warnings():
        # zarr-python warns that consolidated metadata is not in the v3 specification yet; readers that
        # do not know it read the arrays' own metadata, which is there as well.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path, zarr_format=3)


def _create_array(path: Path, plan: ArrayPlan) -> None:
    """Write an array's metadata as TensorStore and zarr-python both read it."""
    attributes: dict[str, Any] = {}
    if plan.kind in ("tensors", "modulation"):
        stream, site = plan.path.split("/")
        attributes = {"stream": stream, "site": site}
    folder = path / plan.path
    folder.mkdir(parents=True)
    content = {**storage.array_metadata(plan), "attributes": attributes}
    (folder / "zarr.json").write_text(json.dumps(content, indent=2))


def _write_labels(group: zarr.Group, coordinates: labels.Labels, extra: tuple[str, ...] = ()) -> None:
    for name, (dims, values) in coordinates.items():
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype="string" if values.dtype == object else values.dtype,
            compressors=[Crc32cCodec()],
            dimension_names=dims,
        )
        array[...] = values if values.dtype != object else values.astype(np.dtypes.StringDType())
    # The CF convention: xarray makes coordinates of the variables named here.
    names = [name for name, (dims, _) in coordinates.items() if dims != (name,)]
    group.update_attributes({"coordinates": " ".join([*names, *extra])})


def _sync_tree(path: Path) -> None:
    """Sync every file and folder, several at once: the file system then joins them into few commits."""
    walked = list(os.walk(path))
    files = [Path(folder) / name for folder, _, names in walked for name in names]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(storage.sync, files))
        list(pool.map(storage.sync, [Path(folder) for folder, _, _ in walked]))
