"""Laying out a new store: metadata, labels, a ledger; and bringing them up to date when it grows.

A store is built under a temporary name beside its path and renamed when it is complete, so that a path holds a whole
cache without recorded samples or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ditscope.cache import files, sample_ledger
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.lock import held
from ditscope.cache.sample_ledger import Ledger
from ditscope.cache.schema import Schema
from ditscope.cache.store_opening import Store
from ditscope.cache.zarr_metadata import ROOT, different_files, zarr_files
from ditscope.errors import CacheError

_PARTIAL = ".partial"
_SYNCS = 16
"""Files and folders that are synced at once: the file system then joins them into few commits."""
_TAKEN = (
    errno.ENOTEMPTY,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.EBUSY,
    errno.EXDEV,
    errno.ENAMETOOLONG,
)


def create_store(
    path: Path,
    schema: Schema,
    plans: Mapping[str, ArrayPlan],
    manifest: Mapping[str, Any],
    ledger: Ledger,
) -> int:
    """Create a cache at ``path``, which must not exist or be an empty folder; no sample of it is recorded.

    Returns:
        Bytes of its journal.

    Raises:
        CacheError: there is something by now, such as another process's cache.
    """
    if path == Path.cwd():
        raise CacheError(
            f"the folder {path} that this process is in", "a path of its own", "Pass 'a.zarr', say."
        )
    try:
        files.make_folders(path.parent, durable=True)
    except OSError as error:
        raise CacheError(
            f"no folder for a store at {path.parent} ({error.strerror})", "a folder", "Choose another path."
        ) from error
    _remove_cut_off(path)
    content = zarr_files(schema, plans, manifest, ledger)
    journal = sample_ledger.first_line(manifest) + sample_ledger.growth_lines(
        0, ledger.samples, ledger.tensors
    )
    content[sample_ledger.FILE] = journal
    try:
        with _partial_folder(path) as partial, ThreadPoolExecutor(_SYNCS) as pool:
            folders = [partial / folder for folder in _folders([*content, *(f"{path}/-" for path in plans)])]
            for folder in folders:
                files.make_folders(folder)
            for name, data in content.items():
                files.write_new(partial / name, data, durable=False)
            _sync_all(pool, files.sync, [partial / name for name in content])
            _sync_all(pool, files.sync_folder, folders)
            files.rename(partial, path)
    except OSError as error:
        if error.errno in _TAKEN:
            raise CacheError(
                f"a path {path} that cannot be had ({error.strerror})",
                "a free path, not taken by another recording meanwhile",
                "Record again to go on with what is there now, or choose another path.",
            ) from error
        raise
    files.sync_folder(path.parent)
    return len(journal)


def update_zarr_files(store: Store, ledger: Ledger) -> None:
    """Write what plain zarr readers see anew wherever it is not what manifest and ledger say.

    The root comes last: with consolidated metadata it is what they read the lengths of all arrays from.
    """
    content = zarr_files(store.schema, store.plans, store.manifest, ledger)
    # A file in what is no folder is among them.
    different = different_files(store.path, content)
    folders = {(store.path / name).parent for name in different}
    files.require_folders(store.path, [folder for folder in folders if os.path.lexists(folder)])
    for name in sorted(different, key=lambda name: name.count("/"), reverse=True):
        files.make_folders((store.path / name).parent)
        # The root holds the manifest; all else is compared with it and the ledger whenever a recording begins.
        files.replace(store.path / name, content[name], durable=name == ROOT)


def _folders(names: Iterable[str]) -> list[str]:
    """The folders that files are in, by their names relative to the store, each after those that it is in."""
    found = {""}
    for name in names:
        while (name := os.path.dirname(name)) not in found:
            found.add(name)
    return sorted(found)


def _sync_all(pool: Executor, sync: Callable[[Path], None], paths: Sequence[Path]) -> None:
    list(pool.map(lambda start: list(map(sync, paths[start::_SYNCS])), range(_SYNCS)))


@contextlib.contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    """A new folder beside a store's path, held, and gone where what is done with it fails."""
    partial = path.with_name(f"{_cut_off(path)}{uuid.uuid4().hex[:8]}{_PARTIAL}")
    with contextlib.ExitStack() as stack:
        try:
            files.make_folders(partial)
            if _is_held(partial, stack):
                yield partial
                return
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    with _partial_folder(path) as another:
        yield another


def _is_held(partial: Path, stack: contextlib.ExitStack) -> bool:
    """Hold a new folder; no, where another creation took it for cut off before it was held."""
    try:
        stack.enter_context(held(partial))
    except (CacheError, FileNotFoundError):
        return False
    return partial.is_dir()


def _remove_cut_off(path: Path) -> None:
    """Remove what creations that were cut off left beside a store's path; those under way are held."""
    own = re.compile(rf"{re.escape(_cut_off(path))}[0-9a-f]{{8}}{re.escape(_PARTIAL)}")
    for name in filter(own.fullmatch, files.names(path.parent)):
        with contextlib.suppress(CacheError, OSError), held(path.parent / name):
            shutil.rmtree(path.parent / name)


def _cut_off(path: Path) -> str:
    """How the temporary name of a store begins: of its own name, as much as leaves room for the rest."""
    return f".{path.name.encode()[:200].decode(errors='ignore')}."
