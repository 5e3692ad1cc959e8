import shutil
from pathlib import Path

import pytest
from unsynced import no_sync as no_sync


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What the story leaves when nothing goes wrong."""
    import small_recording

    path = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    small_recording.story(path)
    return small_recording.content(path)


def _store(name):
    @pytest.fixture(scope="session", name=f"complete_{name.lower()}")
    def complete(tmp_path_factory):
        import small_recording

        path = tmp_path_factory.mktemp(name) / "a.zarr"
        return small_recording.record(path, schema=getattr(small_recording, name))

    return complete


complete_small, complete_every_array, complete_compressed = map(
    _store, ("SMALL", "EVERY_ARRAY", "COMPRESSED")
)


@pytest.fixture
def store(tmp_path, complete_small):
    """A complete store of the test's own."""
    return Path(shutil.copytree(complete_small, tmp_path / "a.zarr"))
