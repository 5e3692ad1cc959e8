"""A fixture for tests that write stores."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_sync():
    """Syncing hundreds of small files would take most of the tests' time; no test cuts the power."""
    from ditscope.cache import storage

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setitem(storage.CONTEXT, "file_io_sync", False)
        yield
