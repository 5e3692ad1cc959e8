"""Paths, disks and neighbours that are not as they should be: refused by name or dealt with; nothing is left behind."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_recording import SAMPLES, content, opened, record

from ditscope.cache import files, lock, open_cache
from ditscope.cache.verification import verify
from ditscope.errors import CacheError, DitscopeError
from patience import SECONDS


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("file/a.zarr", "no folder for a store"),
        ("a" * 300, "cannot be used"),
        (".", "that this process is in"),
        ("a\\b", "backslash"),
        ("full", "without zarr.json"),
        ("file", "a file at"),
    ],
)
def test_a_path_that_cannot_be_one(tmp_path, monkeypatch, name, found):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("../file").touch()
    Path("../full").mkdir()
    Path("../full/notes").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DitscopeError, match=found):
        record(name if name in (".", "a\\b") else f"../{name}")
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(DitscopeError):
        open_cache(name if name == "a\\b" else tmp_path / name)


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127])
def test_a_long_name(tmp_path, name):
    record(tmp_path / name)
    assert verify(tmp_path / name).ok
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_an_empty_folder_or_to_none(tmp_path, there):
    if there:
        (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    record(tmp_path / "link")
    assert verify(tmp_path / "real").ok
    assert (tmp_path / "link").is_symlink()


def test_a_missing_ledger_is_named(store):
    (store / "done/ledger/journal.jsonl").unlink()
    with pytest.raises(CacheError, match="no readable ledger"):
        open_cache(store)
    (store / "done/ledger").rmdir()
    with pytest.raises(CacheError, match="done/ledger"):
        open_cache(store)


def test_a_store_opened_by_a_relative_path_stays_that_store(store, tmp_path, monkeypatch):
    monkeypatch.chdir(store.parent)
    other = tmp_path / "other"
    record(other / "a.zarr", SAMPLES[1:3])
    cache = open_cache("a.zarr")
    expected = cache.hidden().values
    with opened("a.zarr", SAMPLES) as writer:
        monkeypatch.chdir(other)
        from store_recording import fill

        fill(writer, 3)
        writer.commit(3)
    assert open_cache(store).committed == (0, 1, 2, 3)
    assert (cache.hidden().values.view("u2") == expected.view("u2")).all()


def test_a_complete_store_on_a_read_only_disk_is_opened_for_recording(store, monkeypatch):
    def refused(number, name):
        if name in ("write", "unlink", "rename", "makedirs", "ftruncate", "fsync"):
            raise OSError(30, "Read-only file system")

    from faulty_os import FaultyOs

    monkeypatch.setattr(files, "os", FaultyOs(refused))
    with opened(store) as writer:
        assert writer.committed == {0, 1, 2}
    with pytest.raises(OSError, match="Read-only") as error:
        record(store, SAMPLES)
    assert "committed samples are safe" in error.value.__notes__[0]


def test_a_file_system_without_locks_warns(store, monkeypatch):
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(95, "Not supported")))
    with pytest.warns(UserWarning, match="no locks"):
        record(store, SAMPLES)
    assert verify(store).ok


def create(path, go, result):
    go.wait()
    try:
        record(path, SAMPLES[:1])
        result.put("recorded")
    except Exception as error:
        result.put(f"{type(error).__name__}: {error}")


def test_losers_of_a_race_are_told(tmp_path):
    context = multiprocessing.get_context("fork")
    for turn in range(4):
        path, go, result = tmp_path / str(turn) / "a.zarr", context.Event(), context.Queue()
        racers = [context.Process(target=create, args=(path, go, result)) for _ in range(4)]
        for racer in racers:
            racer.start()
        go.set()
        said = [result.get(timeout=SECONDS) for _ in racers]
        for racer in racers:
            racer.join()
        assert "recorded" in said
        assert all(word == "recorded" or word.startswith("CacheError") for word in said), said
        assert open_cache(path).committed == (0,)
        assert os.listdir(path.parent) == ["a.zarr"]


def test_what_another_creation_left_goes_and_what_is_none_stays(tmp_path):
    left, own = tmp_path / ".a.zarr.0123abcd.partial", tmp_path / ".a.zarr.mine.partial"
    for folder in (left, own):
        folder.mkdir()
        (folder / "zarr.json").touch()
    os.mkfifo(tmp_path / ".a.zarr.01234567.partial")
    record(tmp_path / "a.zarr")
    assert not left.exists()
    assert own.exists()


def test_a_forked_child_neither_keeps_the_lock_nor_hangs(store):
    code = f"""
import os, sys
sys.path[:0] = {[p for p in sys.path if "tests" in p]!r}
from small_recording import opened
from ditscope.cache import open_cache
cache = open_cache({str(store)!r})
cache.hidden().load()
writer = opened({str(store)!r})
hears, says = os.pipe()
child = os.fork()
if child == 0:
    cache.hidden().load()
    os.close(says)
    os.read(hears, 1)
    os._exit(0)
writer.close()
opened({str(store)!r}).close()
os.write(says, b".")
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=SECONDS)


def test_a_recording_that_differs_is_refused_by_both_values(store):
    import dataclasses

    from small_recording import SMALL

    before = content(store)
    with pytest.raises(
        CacheError, match=r"image_height.*found 2.*expected 4|image_height.*found 4.*expected 2"
    ):
        record(store, schema=dataclasses.replace(SMALL, image_height=4))
    assert content(store) == before


def test_a_strangers_words_do_not_reach_the_terminal(store, capsys):
    import json

    from store_recording import edit_json

    from ditscope import cli
    from ditscope.cache.sample_ledger import FILE, first_line

    edit_json(
        store / "zarr.json", lambda root: root["attributes"]["ditscope"]["environment"].update(device="x")
    )
    root = json.loads((store / "zarr.json").read_text())
    manifest = root["attributes"]["ditscope"]
    manifest["config"]["model"] = "\x1b[2J\x1b]0;owned\x07 model\u202e"
    from ditscope.cache.manifest import _config_hash

    manifest["config_hash"] = _config_hash(manifest["schema"], manifest["config"])
    (store / "zarr.json").write_text(json.dumps(root))
    lines = (store / FILE).read_bytes().splitlines(keepends=True)
    (store / FILE).write_bytes(b"".join([first_line(manifest), *lines[1:]]))
    with pytest.raises(SystemExit) as stop:
        cli.main(["info", str(store)])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert r"\x1b[2J" in said
    assert not any(ord(letter) < 32 and letter != "\n" for letter in said)
    assert "\u202e" not in said
