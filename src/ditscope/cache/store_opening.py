"""Finding out what is at a path: a cache of this version, laid out as its manifest says, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditscope.cache import files, sample_ledger
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.ledger_reading import read_ledger
from ditscope.cache.manifest import validate_manifest
from ditscope.cache.sample_ledger import Ledger
from ditscope.cache.schema import Schema
from ditscope.cache.zarr_metadata import ATTRIBUTE, ROOT
from ditscope.errors import CacheError


@dataclass(frozen=True)
class Store:
    """What is at a path, as its manifest says.

    Attributes:
        path: the folder, without links on the way to it.
        manifest: what was recorded, from which model, with which call.
        schema: the axes of every sample.
        plans: every array, by path.
    """

    path: Path
    manifest: Mapping[str, Any]
    schema: Schema
    plans: Mapping[str, ArrayPlan]

    def ledger(self) -> Ledger:
        """Which samples there are, and which are committed.

        Raises:
            CacheError: there is no ledger, or it is of another recording.
        """
        return read_ledger(self.path, self.manifest, self.plans)


def open_store(path: Path) -> Store:
    """Read and check the manifest of the store at ``path``, and see that no folder of it is a link.

    Raises:
        CacheError: there is nothing there, or something other than a cache of this version.
    """
    try:
        return _opened(path)
    except OSError as error:
        raise CacheError(
            f"nothing readable at {path} ({error.strerror})",
            "a cache",
            "Check the path, its permissions, the disk.",
        ) from error


def _opened(path: Path) -> Store:
    if not path.exists():
        raise CacheError(f"nothing at {path}", "a cache", "Check the path, or record one first.")
    if not path.is_dir():
        raise CacheError(f"a file at {path}", "a cache (a zarr v3 group made by ditscope)", "Check the path.")
    path = path.resolve()
    if files.size(path / ROOT) is None:
        raise CacheError(
            f"a folder without zarr.json at {path}",
            "a cache (a zarr v3 group made by ditscope)",
            "Check the path.",
        )
    root = files.read_json(path / ROOT, "the metadata of a zarr v3 group")
    attributes = root.get("attributes") if isinstance(root, dict) else None
    manifest = attributes.get(ATTRIBUTE) if isinstance(attributes, dict) else None
    schema, plans = validate_manifest(manifest, str(path))
    folders = [path / plan.path for plan in plans.values()]
    try:
        files.require_folders(path, [*folders, path / sample_ledger.FOLDER])
    except OSError as error:
        raise CacheError(
            f"no readable folder {error.filename} ({error.strerror})",
            "a folder for every array and for the ledger",
            "The store was cut short: fetch it again, or record into a new path.",
        ) from error
    return Store(path, dict(manifest or {}), schema, plans)
