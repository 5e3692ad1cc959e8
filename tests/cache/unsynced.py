"""A fixture for tests that write stores."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_sync():
    """Syncing hundreds of small files would take most of the tests' time; no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield
