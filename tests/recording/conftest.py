import pytest
from unsynced import no_sync as no_sync


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="session")
def guided(dit, folder):
    """Both streams and sites of 2 prompts x 2 seeds in batches of 3 and 1, guided."""
    import pipeline_recording

    return pipeline_recording.record(dit, folder / "guided", batch_size=3, **pipeline_recording.BOTH)
