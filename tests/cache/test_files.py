import errno
import os
import threading

import numpy as np
import pytest

from ditscope.cache import files
from ditscope.errors import CacheError


@pytest.fixture
def full_disk():
    """No file may grow beyond 1,000 bytes."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_reader_meets_the_old_content_or_the_new_and_nothing_between(tmp_path):
    path = tmp_path / "a.json"
    contents = [bytes([65 + number]) * (100_000 + number) for number in range(4)]
    files.replace(path, contents[0])
    seen, done = set(), threading.Event()

    def read():
        seen.add(path.read_bytes())
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(200):
            files.replace(path, contents[number % len(contents)])
    finally:
        done.set()
        reader.join()
    assert seen
    assert seen <= set(contents)
    assert files.names(tmp_path) == ["a.json"]


def test_what_fails_leaves_the_old_content_and_no_other_file(tmp_path, full_disk):
    path = tmp_path / "a"
    files.replace(path, b"old")
    for write in (
        lambda: files.replace(path, b"new" * 10_000),
        lambda: files.append(path, b"new" * 10_000, 3),
        lambda: files.write_new(tmp_path / "b", b"new" * 10_000),
    ):
        with pytest.raises(OSError, match="File too large") as error:
            write()
        assert error.value.errno == errno.EFBIG
        assert path.read_bytes() == b"old"
        assert files.names(tmp_path) == ["a"]


def test_a_part_of_a_file_is_asked_for_once_the_one_before_is_written(tmp_path):
    path, sizes = tmp_path / "a", []

    def parts():
        for part in (b"one", b"", b"three"):
            sizes.append(path.stat().st_size)
            yield part

    assert files.write_new(path, parts()) == len(b"onethree")
    assert (files.read(path), sizes) == (b"onethree", [0, 3, 3])
    assert files.write_new(path, np.arange(3, dtype="u2")) == 6


def test_adding_begins_where_it_is_told_to_and_makes_no_file(tmp_path):
    path = tmp_path / "a"
    files.write_new(path, b"line 1\nhalf a li")
    files.append(path, b"line 2\n", 7)
    assert files.read(path) == b"line 1\nline 2\n"
    with pytest.raises(FileNotFoundError):
        files.append(tmp_path / "b", b"x", 0)
    assert files.names(tmp_path) == ["a"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc to name open files")
def test_bytes_are_synced_before_their_name_and_the_name_after(tmp_path, synced):
    path = tmp_path / "a"
    files.replace(path, b"new")
    written, folder = synced
    assert written.parent == folder == tmp_path
    assert written.name.startswith(".a.")
    files.append(path, b"er", 3)
    files.write_new(tmp_path / "b", b"new")
    files.sync_folder(tmp_path)
    assert synced[2:] == [path, tmp_path / "b", tmp_path]
    files.replace(path, b"mirror", durable=False)
    assert len(synced) == 5


@pytest.fixture
def odd(tmp_path):
    """A folder of things that are no plain files; ``file`` is one."""
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("folder", "a folder"),
        ("link", "a link"),
        ("dangling", "a link"),
        ("zeros", "a link"),
        ("pipe", "a pipe"),
    ],
)
def test_what_is_no_plain_file_is_refused_before_it_is_opened(odd, name, kind):
    for act in (files.size, files.read, lambda path: files.append(path, b"x", 0)):
        with pytest.raises(CacheError, match=f"{kind} at .*{name}; expected a plain file"):
            act(odd / name)
    assert (odd / "file").read_bytes() == b"12345"
    assert not (odd / "nothing").exists()


def test_a_device_is_refused():
    with pytest.raises(CacheError, match="a device at /dev/zero"):
        files.read("/dev/zero")


def test_what_takes_the_place_of_a_link_is_not_written_through_it(odd):
    files.write_new(odd / "link", b"new")
    files.replace(odd / "dangling", b"new")
    assert (odd / "file").read_bytes() == b"12345"
    assert not (odd / "link").is_symlink()
    assert not (odd / "nothing").exists()
    files.remove(odd / "zeros")
    files.remove(odd / "never there")
    assert os.path.exists("/dev/zero")


def test_sizes_and_bounds(odd):
    assert files.size(odd / "file") == 5
    assert files.size(odd / "none") is None
    assert files.read(odd / "file", 5) == b"12345"
    with pytest.raises(CacheError, match="5 bytes in .*file; expected at most 4"):
        files.read(odd / "file", 4)
    target = bytearray(4)
    with files.opened(odd / "file") as handle:
        assert files.read_into(handle, 3, memoryview(target)) == 2
    assert target == b"45\0\0"


def test_folders_of_a_store_are_no_links(odd):
    (odd / "folder" / "inner").mkdir()
    files.require_folders(odd, [odd / "folder" / "inner", odd / "folder"])
    (odd / "elsewhere").symlink_to(odd / "folder")
    with pytest.raises(CacheError, match="a link at .*elsewhere; expected a folder"):
        files.require_folders(odd, [odd / "elsewhere" / "inner"])
    with pytest.raises(FileNotFoundError):
        files.require_folders(odd, [odd / "none"])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, r"no readable file .*a\.json \(No such file"),
        (b"", "not JSON"),
        (b'{"sample": 0, "files": {', "not JSON"),
        (b'{"prompt": "\xff\xfe"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_json_file_is_refused_by_path_and_purpose(tmp_path, content, found):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CacheError, match=found) as error:
        files.read_json(path, "a manifest")
    assert f"{path}" in str(error.value)
    assert "expected a manifest" in str(error.value)
