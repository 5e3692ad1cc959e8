import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store_recording import fill, make_manifest, make_schema

import ditscope
from ditscope.cache import CacheWriter, open_cache
from ditscope.cache.lock import sole_writer
from ditscope.errors import CacheError

pytest.importorskip("fcntl")

HOLD = """
import sys
from pathlib import Path
from ditscope.cache.lock import sole_writer

with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def shared_store(tmp_path, empty_store):
    return Path(shutil.copytree(empty_store, tmp_path / "store.zarr"))


@contextlib.contextmanager
def held_by_another_process(store):
    """A process that has the store open for writing."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ditscope.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def record_first(store):
    schema = make_schema()
    with CacheWriter.create_or_resume(store, schema, make_manifest(schema)) as writer:
        fill(writer, 0)
        writer.commit(0)


def test_a_second_process_may_write_only_after_the_first_has_ended(shared_store):
    with held_by_another_process(shared_store) as process:
        with pytest.raises(
            CacheError, match=r"store\.zarr open for recording elsewhere; expected one writer"
        ):
            record_first(shared_store)
        assert open_cache(shared_store).committed == ()  # reading needs no lock
        process.kill()  # leaves its lock file behind
        process.wait(10)
        record_first(shared_store)
    assert open_cache(shared_store).committed == (0,)


def test_a_recording_that_fails_lets_go_of_the_store(shared_store):
    with pytest.raises(ZeroDivisionError), sole_writer(shared_store):
        raise ZeroDivisionError
    with sole_writer(shared_store):
        pass


def test_a_refused_writer_does_not_take_the_lock_from_the_first(shared_store):
    with sole_writer(shared_store):
        for _ in range(2):
            with pytest.raises(CacheError, match="one writer at a time"), sole_writer(shared_store):
                pass
    with sole_writer(shared_store):
        pass


def test_stores_are_locked_apart(shared_store, tmp_path):
    other = shutil.copytree(shared_store, tmp_path / "other.zarr")
    with sole_writer(shared_store), sole_writer(other):
        pass
