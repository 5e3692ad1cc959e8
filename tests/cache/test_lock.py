import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from store_recording import fill, open_writer

import ditscope
from ditscope.cache import open_cache, sample_ledger
from ditscope.cache.lock import held
from ditscope.errors import CacheError
from patience import SECONDS

pytest.importorskip("fcntl")

HOLD = """
import sys
from pathlib import Path
from ditscope.cache.lock import held

with held(Path(sys.argv[1])):
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
    with open_writer(store) as writer:
        fill(writer, 0)
        writer.commit(0)


def test_a_second_process_may_write_only_after_the_first_has_ended(shared_store):
    with held_by_another_process(shared_store / sample_ledger.FOLDER) as process:
        with pytest.raises(
            CacheError, match=r"store\.zarr/done/ledger open for recording elsewhere; expected one writer"
        ):
            record_first(shared_store)
        assert open_cache(shared_store).committed == ()  # reading needs no lock
        process.kill()
        process.wait(SECONDS)
        record_first(shared_store)
    assert open_cache(shared_store).committed == (0,)


def test_a_recording_that_fails_lets_go_of_the_store(shared_store):
    with pytest.raises(ZeroDivisionError), held(shared_store):
        raise ZeroDivisionError
    with held(shared_store):
        pass


def test_a_refused_writer_does_not_take_the_lock_from_the_first(shared_store):
    with held(shared_store):
        for _ in range(2):
            with pytest.raises(CacheError, match="one writer at a time"), held(shared_store):
                pass
    with held(shared_store):
        pass


def test_stores_are_locked_apart(shared_store, tmp_path):
    other = shutil.copytree(shared_store, tmp_path / "other.zarr")
    with held(shared_store), held(other):
        pass


def test_a_forked_child_does_not_keep_the_lock_of_a_parent_that_is_killed(shared_store):
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        with held(shared_store):
            if os.fork() == 0:
                os.write(write, b"%d" % os.getpid())
                signal.pause()
            else:
                signal.pause()
    child = int(os.read(read, 100))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        with held(shared_store):
            os.kill(child, 0)  # it lives on
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_a_forked_child_that_ends_leaves_the_lock_to_its_parent(shared_store):
    with held(shared_store):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(CacheError, match="one writer at a time"), held(shared_store):
            pass


def test_no_file_is_made_that_could_be_deleted(tmp_path):
    with held(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(shared_store, tmp_path):
    (tmp_path / "link").symlink_to(shared_store)
    with pytest.raises(OSError, match="link"), held(tmp_path / "link"):
        pass
