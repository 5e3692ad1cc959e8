import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def no_sync():
    """Syncing hundreds of small files would take most of the tests' time; no test cuts the power."""
    from ditscope.cache import storage

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setitem(storage.CONTEXT, "file_io_sync", False)
        yield


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


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="session")
def guided(dit, folder):
    """Both streams and sites of 2 prompts x 2 seeds in batches of 3 and 1, guided."""
    import pipeline_recording

    return pipeline_recording.record(dit, folder / "guided", batch_size=3, **pipeline_recording.BOTH)
