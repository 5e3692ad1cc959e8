"""Every operation on a file can fail, once or for good: what is on disk is old or new, and the error says so."""

import contextlib
import os
import random

import pytest
from faulty_os import ERRORS, ForgetfulDisk, PowerCut, counting, failing
from small_recording import SAMPLES, assert_completes, assert_whole, fill, opened, record, story

from ditscope.cache import files, open_cache
from ditscope.cache.verification import verify
from ditscope.errors import CacheError

EVERY = os.environ.get("DITSCOPE_FAULTS") == "all"


def moments(monkeypatch, path, number, seed):
    counted = counting()
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", counted)
        story(path)
    every = range(1, counted.done + 1)
    return every if EVERY else sorted(random.Random(seed).sample(every, number))


def raised_by(call, *arguments):
    try:
        call(*arguments)
    except (OSError, CacheError) as error:
        return error


def explained(error):
    """Whether an error says what happened and what is safe."""
    if isinstance(error, CacheError):
        return error.found and error.expected and error.remedy
    return isinstance(error, OSError) and any(
        "committed samples are safe" in note for note in error.__notes__
    )


@pytest.mark.parametrize("for_good", [False, True])
def test_an_operation_that_fails(tmp_path, undisturbed, monkeypatch, for_good):
    for turn, at in enumerate(moments(monkeypatch, tmp_path / "counted" / "a.zarr", 16, seed=for_good)):
        for code in ERRORS if EVERY else ERRORS[turn % 3 :][:1]:
            path, said = tmp_path / f"{at}-{code}" / "a.zarr", []
            with monkeypatch.context() as patch:
                patch.setattr(files, "os", failing(at, code, for_good=for_good))
                failure = raised_by(story, path, said.append)
                assert failure is None or explained(failure), (at, repr(failure))
            assert_whole(path, said)
            assert_completes(path, undisturbed)


def test_the_power_is_cut(tmp_path, undisturbed, monkeypatch):
    for at in moments(monkeypatch, tmp_path / "counted" / "a.zarr", 14, seed=5):
        room, said = tmp_path / str(at), []
        room.mkdir()
        disk = ForgetfulDisk(room, at)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", disk)
            with contextlib.suppress(PowerCut):
                story(room / "runs" / "a.zarr", said.append)
        for names_kept in (False, True):
            after = tmp_path / f"{at}-{names_kept}"
            disk.rebuild(after, names_kept=names_kept)
            path = after / "runs" / "a.zarr"
            assert_whole(path, said)
            assert_completes(path, undisturbed)


def test_a_commit_that_failed_is_made_again_once_there_is_room(tmp_path, monkeypatch):
    path = record(tmp_path / "a.zarr", SAMPLES[:1])
    with opened(path, SAMPLES[:2]) as writer:
        fill(writer, 1)
        with monkeypatch.context() as patch:
            patch.setattr(files, "append", lambda *_: (_ for _ in ()).throw(OSError(*[28, "No space left"])))
            with pytest.raises(OSError, match="No space") as error:
                writer.commit(1)
        assert explained(error.value)
        assert open_cache(path).committed == (0,)
        writer.commit(1)
    assert verify(path).ok
    assert open_cache(path).committed == (0, 1)
