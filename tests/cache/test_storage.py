import os
import threading

import pytest
from ditscope.cache.storage import plain_file_size, read_json, write_durably

from ditscope.errors import CacheError


def test_a_reader_meets_the_old_content_or_the_new_and_nothing_between(tmp_path):
    path = tmp_path / "entry.json"
    contents = [bytes([65 + number]) * (100_000 + number) for number in range(4)]
    write_durably(path, contents[0])
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(200):
            write_durably(path, contents[number % len(contents)])
    finally:
        done.set()
        reader.join()
    assert seen
    assert seen <= set(contents)
    assert [entry.name for entry in tmp_path.iterdir()] == ["entry.json"]


def test_a_write_that_fails_leaves_the_old_content_and_no_other_file(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "entry.json"
    write_durably(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as on a disk that is full
    try:
        with pytest.raises(OSError, match="File too large"):
            write_durably(path, b"new" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_durably(tmp_path / "folder", b"new")
    assert {entry.name for entry in tmp_path.iterdir()} == {"entry.json", "folder"}


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc to name open files")
def test_the_bytes_are_synced_before_they_get_their_name_and_the_name_after(tmp_path, synced):
    path = tmp_path / "entry.json"
    write_durably(path, b"new")
    written, folder = synced
    assert written.parent == folder == tmp_path
    assert written.name.startswith(".entry.json.")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, r"no readable file .*a\.json \(No such file"),
        ("folder", r"no readable file .*a\.json \(Is a directory"),
        (b"", "not JSON"),
        (b'{"sample": 0, "files": {', "not JSON"),
        (b'{"prompt": "\xff\xfe"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_json_file_is_refused_by_path_and_purpose(tmp_path, content, found):
    path = tmp_path / "a.json"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CacheError, match=found) as error:
        read_json(path, "a ledger entry")
    assert f"{path}" in str(error.value)
    assert "expected a ledger entry" in str(error.value)


def test_only_a_plain_file_has_a_size(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    assert plain_file_size(file) == 5
    assert plain_file_size(tmp_path / "empty") == 0
    for name in ("folder", "link", "dangling", "pipe", "nothing", "file/below", "x" * 1000):
        assert plain_file_size(tmp_path / name) is None, name
