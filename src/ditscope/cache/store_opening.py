"""Finding out what is at a path: a cache of this version, laid out as its manifest says, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ditscope.cache import storage
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.manifest import ATTRIBUTE, validate_manifest
from ditscope.cache.schema import Schema
from ditscope.errors import CacheError


def read_manifest(path: Path) -> tuple[dict[str, Any], Schema]:
    """Read and check the manifest of the store at ``path``.

    Raises:
        CacheError: there is nothing there, or something other than a cache of this version.
    """
    if not path.exists():
        raise CacheError(f"nothing at {path}", "a cache", "Check the path, or record one first.")
    if not (path / "zarr.json").is_file():
        kind = "a folder without zarr.json" if path.is_dir() else "a file"
        raise CacheError(f"{kind} at {path}", "a cache (a zarr v3 group made by ditscope)", "Check the path.")
    root = storage.read_json(path / "zarr.json", "the metadata of a zarr v3 group")
    attributes = root.get("attributes") if isinstance(root, dict) else None
    manifest = attributes.get(ATTRIBUTE) if isinstance(attributes, dict) else None
    schema = validate_manifest(manifest, str(path))
    return dict(manifest or {}), schema


def check_layout(path: Path, plans: Mapping[str, ArrayPlan]) -> None:
    """See that every array is there and is what the manifest says: shape, chunks, dtype, codecs.

    Raises:
        CacheError: one is missing or other.
    """
    for plan in plans.values():
        content = storage.read_json(path / plan.path / "zarr.json", f"the metadata of array {plan.path}")
        for name, expected in storage.array_metadata(plan).items():
            stored = content.get(name) if isinstance(content, dict) else None
            # storage_transformers may be left out when there are none.
            if stored != expected and not (name == "storage_transformers" and not stored):
                raise CacheError(
                    f"{name} {stored!r} in the metadata of array {plan.path} at {path}",
                    repr(expected),
                    "The store was altered: fetch it again, or record into a new path.",
                )
