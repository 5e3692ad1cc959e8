"""A recording that is killed, at any moment, loses nothing that was committed."""

import os
import random
import signal
import sys
import time

import faulty_os
import pytest
from small_recording import assert_completes, assert_whole, story

from ditscope.cache import files

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# All of them (an hour): DITSCOPE_FAULTS=all, as `make faults` does.
EVERY = os.environ.get("DITSCOPE_FAULTS") == "all"
KILLED = 25


def in_child(path, operations):
    """Run the story in a child; its process id, and a pipe that hears what is durable."""
    hears, says = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hears)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            files.os = operations
            story(path, lambda word: os.write(says, f"{word}\n".encode()))
        finally:
            os._exit(0)
    os.close(says)
    return child, hears


def heard(child, hears):
    """Whether the child was killed, and what it said before."""
    with open(hears) as said:
        words = said.read().splitlines()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), words


def synced():
    """``os`` that does sync, whatever the tests beside do."""
    import posix

    class Synced:
        fsync = staticmethod(posix.fsync)

        def __getattr__(self, name):
            return getattr(os, name)

    return Synced()


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_killed_at_random_moments(tmp_path, undisturbed):
    start = time.perf_counter()
    heard(*in_child(tmp_path / "timed" / "a.zarr", synced()))
    took = time.perf_counter() - start
    moments, killed = random.Random(20), 0
    for number in range(75):
        path = tmp_path / str(number) / "a.zarr"
        child, hears = in_child(path, synced())
        moment = moments.uniform(0, took)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        was_killed, said = heard(child, hears)
        assert_whole(path, said)
        assert_completes(path, undisturbed)
        killed += was_killed
        if killed == KILLED:
            break
        if not was_killed:  # the timed one was slower, for what ran beside it
            took = moment
    assert killed == KILLED


def test_killed_ahead_of_an_operation_on_files(tmp_path, undisturbed, monkeypatch):
    counted = faulty_os.counting()
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", counted)
        story(tmp_path / "counted" / "a.zarr")
    moments = range(1, counted.done + 1)
    chosen = moments if EVERY else random.Random(3).sample(moments, 14)
    killed = 0
    for at in chosen:
        path = tmp_path / str(at) / "a.zarr"
        was_killed, said = heard(*in_child(path, faulty_os.killing(at)))
        killed += was_killed
        assert_whole(path, said)
        assert_completes(path, undisturbed)
    assert killed > 0.8 * len(chosen)  # threads do not take turns alike: some runs have fewer operations
