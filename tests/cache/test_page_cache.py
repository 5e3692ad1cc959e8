import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditscope.cache import files, page_cache
from ditscope.cache.page_cache import BLOCK, aligned, bypassed

fcntl = pytest.importorskip("fcntl")


def filled(size, offset=0):
    """Random bytes that begin ``offset`` bytes behind a block."""
    data = aligned(size + offset)[offset:]
    data[:] = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    return data


def goes_past(handle):
    return bool(fcntl.fcntl(handle, fcntl.F_GETFL) & getattr(os, "O_DIRECT", 0))


def is_able(folder):
    """Whether the file system there takes writes past the page cache."""
    path = folder / "able"
    with files.opened(path, os.O_WRONLY | os.O_CREAT) as handle, bypassed(handle):
        return goes_past(handle)


@pytest.fixture
def writes(monkeypatch):
    """(bytes, whether past the page cache, whether from a block's beginning) of each write of a file."""
    seen, honest = [], os.write

    class Spy:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, handle, data):
            start = np.frombuffer(data, np.uint8).ctypes.data
            seen.append((len(data), goes_past(handle), start % BLOCK == 0))
            return honest(handle, data)

    monkeypatch.setattr(files, "os", Spy())
    return seen


@given(st.integers(1, 5 * BLOCK))
def test_memory_begins_at_a_block(size):
    data = aligned(size)
    assert (data.shape, data.dtype, data.ctypes.data % BLOCK) == ((size,), np.uint8, 0)
    data[:] = 1


@pytest.mark.parametrize("offset", [0, 7])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
def test_a_file_of_any_size_has_what_was_written(tmp_path, size, offset):
    data, path = filled(size, offset), tmp_path / "a"
    assert files.write_new(path, data, cached=False) == size
    assert path.read_bytes() == data.tobytes()


def test_whole_blocks_go_past_the_page_cache_and_the_rest_through_it(tmp_path, writes):
    files.write_new(tmp_path / "a", filled(3 * BLOCK + 17), cached=False)
    files.write_new(tmp_path / "b", filled(3 * BLOCK + 17))
    able = is_able(tmp_path)
    assert writes == [(3 * BLOCK, able, True), (17, False, True), (3 * BLOCK + 17, False, True)]


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="needs a system that tells what it has in memory")
def test_nothing_of_it_stays_in_the_page_cache(tmp_path):
    def in_memory(path):
        with files.opened(path) as handle:
            try:
                return os.preadv(handle, [bytearray(BLOCK)], 0, os.RWF_NOWAIT) == BLOCK
            except BlockingIOError:
                return False
            except OSError:
                pytest.skip("a file system that does not tell what it has in memory")

    for name in ("past", "through"):
        files.write_new(tmp_path / name, filled(64 * BLOCK), cached=name == "through")
    if not (in_memory(tmp_path / "through") and is_able(tmp_path)):
        pytest.skip("a file system that always or never goes through the page cache")
    assert not in_memory(tmp_path / "past")


def test_a_file_system_that_takes_no_such_writes_gets_plain_ones(tmp_path, writes, monkeypatch):
    honest = fcntl.fcntl

    def unable(handle, command, value=0):
        if command == fcntl.F_SETFL and value & getattr(os, "O_DIRECT", 0):
            raise OSError(errno.EINVAL, "Invalid argument")
        return honest(handle, command, value)

    monkeypatch.setattr(page_cache.fcntl, "fcntl", unable)
    data = filled(2 * BLOCK + 1)
    files.write_new(tmp_path / "a", data, cached=False)
    assert (tmp_path / "a").read_bytes() == data.tobytes()
    assert {past for _, past, _ in writes} == {False}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
@pytest.mark.parametrize("taken", [0, 100, BLOCK])
def test_one_that_takes_other_blocks_gets_the_rest_through_the_cache(tmp_path, monkeypatch, taken, code):
    """It takes some bytes, and says that the next ones are none of its blocks."""
    honest, calls = os.write, []

    class Picky:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, handle, data):
            calls.append(len(data))
            if len(calls) == 1 and taken:
                fcntl.fcntl(handle, fcntl.F_SETFL, 0)
                return honest(handle, data[:taken])
            if len(calls) <= 2:
                raise OSError(code, os.strerror(code))
            return honest(handle, data)

    monkeypatch.setattr(files, "os", Picky())
    data = filled(3 * BLOCK)
    if taken:
        files.write_new(tmp_path / "a", data, cached=False)
        assert (tmp_path / "a").read_bytes() == data.tobytes()
        return
    with pytest.raises(OSError, match=os.strerror(code)):  # of a plain write too
        files.write_new(tmp_path / "a", data, cached=False)
    assert not (tmp_path / "a").exists()


def test_a_full_disk_is_said_and_leaves_no_file(tmp_path, monkeypatch):
    class Full:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, handle, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "os", Full())
    with pytest.raises(OSError, match="No space") as error:
        files.write_new(tmp_path / "a", filled(3 * BLOCK), cached=False)
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
