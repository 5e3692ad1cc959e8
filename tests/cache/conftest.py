import os
import shutil
from pathlib import Path

import pytest
from unsynced import no_sync as no_sync


@pytest.fixture
def synced(monkeypatch):
    """Paths that were synced, in order."""
    paths = []
    monkeypatch.setattr(os, "fsync", lambda handle: paths.append(Path(f"/proc/self/fd/{handle}").resolve()))
    return paths


@pytest.fixture(scope="session")
def complete_store(tmp_path_factory):
    import store_recording

    return store_recording.record(tmp_path_factory.mktemp("complete") / "store.zarr")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    import store_recording

    return store_recording.record(tmp_path_factory.mktemp("empty") / "store.zarr", samples=[])


@pytest.fixture
def store(tmp_path, complete_store):
    """A complete small store of the test's own."""
    return Path(shutil.copytree(complete_store, tmp_path / "store.zarr"))


@pytest.fixture
def writer(tmp_path, empty_store):
    """A writer of a store that has no sample yet."""
    import store_recording

    from ditscope.cache import CacheWriter

    schema = store_recording.make_schema()
    path = shutil.copytree(empty_store, tmp_path / "a.zarr")
    with CacheWriter.create_or_resume(path, schema, store_recording.make_manifest(schema)) as writer:
        yield writer
