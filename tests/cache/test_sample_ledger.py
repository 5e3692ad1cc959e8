import os
import signal
import subprocess
import sys
from pathlib import Path

import google_crc32c
import pytest
import store_recording
from ledger_lines import content_of, ledger_of, lines_of
from store_recording import (
    files_below,
    fill,
    make_schema,
    open_writer,
    record,
)

import ditscope
from ditscope.cache import CacheWriter, SampleSpec, build_manifest, open_cache, verify
from ditscope.cache.sample_ledger import FILE, Entry, StoredFiles, line
from ditscope.encoded_text import EncodedText
from ditscope.errors import CacheError

MOMENTS = ["between samples", "half a sample", "before commit", "before the ledger entry"]


def _killed_recording(path, moment):
    environment = {**os.environ, "PYTHONPATH": str(Path(ditscope.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, store_recording.__file__, str(path), moment], env=environment, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return path


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_recording_opens_and_resumes_to_the_same_store(tmp_path, moment):
    store = _killed_recording(tmp_path / "killed.zarr", moment)
    cache = open_cache(store)
    assert cache.committed == (0,)
    assert list(cache.samples["done"]) == [True, False]
    assert cache.hidden().sizes["sample"] == 1
    assert verify(store).ok

    unbroken = record(tmp_path / "unbroken.zarr")
    record(store)
    assert open_cache(store).complete
    ours, theirs = (_data_files(path) for path in (store, unbroken))
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours)


def _data_files(path):
    """All files but those with times in them."""
    return {
        name: data for name, data in files_below(path).items() if name != "zarr.json" and "ledger" not in name
    }


def test_a_line_is_its_checksum_and_json(store):
    assert line("drop", {"sample": 0}) == b'%08x {"kind":"drop","sample":0}\n' % google_crc32c.value(
        b'{"kind":"drop","sample":0}'
    )
    kinds = [content_of(text)["kind"] for text in lines_of(store)]
    assert kinds == ["journal", "samples", "commit", "commit"]
    assert ledger_of(store).end == (store / FILE).stat().st_size


HIDDEN = "image/block_output/hidden"


def test_entries_come_back_from_json_equal(store):
    cache = open_cache(store)
    for entry in cache.ledger.values():
        text = EncodedText({"text_encoder": 12}, "ab")
        own = {"text": text, "live": "ff", "nonfinite": {"image/block_output": 2}}
        own["saturated"] = {"image/block_output": {0: {3: 4}}}
        full = Entry(entry.sample, SampleSpec("ü\ud800", 0, {"x": 1}), entry.committed, entry.files, **own)
        assert Entry.from_json(content_of(line("commit", full.to_json())), cache.plans) == full
    assert entry.files[HIDDEN] != StoredFiles(entry.files[HIDDEN].checksums + 1)


def test_leftovers_of_a_killed_recording_are_cleared(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[0])
    before = set(files_below(store))
    (store / f"{HIDDEN}/c.1.0.0.0.0.0").write_bytes(b"half a file")
    record(store, samples=[])
    assert set(files_below(store)) == before


def test_done_repeats_the_ledger_even_after_a_kill_between_the_two(tmp_path):
    import zarr

    store = record(tmp_path / "a.zarr", samples=[0])
    (store / "done" / "c.0").unlink()
    record(store, samples=[])
    assert zarr.open_array(store / "done", mode="r")[:].tolist() == [True, False]


def test_resuming_in_another_environment_is_allowed(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[0])
    schema = make_schema()
    manifest = build_manifest(schema, store_recording.CONFIG, {"device": "cuda:1", "versions": {}})
    with CacheWriter.create_or_resume(store, schema, manifest) as writer:
        assert writer.committed == {0}
        assert writer.manifest["environment"]["device"] == "cpu"


def test_live_state_and_what_text_encoders_were_given_are_kept(writer):
    text = EncodedText({"text_encoder": 12, "text_encoder_2": 0}, "ab12")
    fill(writer, 0)
    writer.commit(0, live="0123456789abcdef")
    fill(writer, 1)
    writer.commit(1, text)
    ledger = open_cache(writer.path).ledger
    assert [(ledger[i].live, ledger[i].text) for i in (0, 1)] == [("0123456789abcdef", None), (None, text)]
    assert ledger[1].saturated == {}


def test_commit_of_one_sample_leaves_the_others_files_alone(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[1])
    ours = [name for name in files_below(store) if "/c.1." in name]
    before = {name: (store / name).stat() for name in ours}
    record(store, samples=[0])
    for name, status in before.items():
        after = (store / name).stat()
        assert (after.st_mtime_ns, after.st_ino, after.st_size) == (
            status.st_mtime_ns,
            status.st_ino,
            status.st_size,
        ), name


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc to name open files")
def test_data_and_folders_are_synced_before_the_ledger_says_so(tmp_path, monkeypatch):
    synced, names = [], {}

    def sync(handle):
        path = Path(f"/proc/self/fd/{handle}").resolve()
        synced.append(path)
        if path.is_dir():
            names[path] = {entry.name for entry in path.iterdir()}

    with open_writer(tmp_path / "a.zarr") as writer:
        monkeypatch.setattr(os, "fsync", sync)
        fill(writer, 0)
        writer.commit(0)
        monkeypatch.undo()
    *before, last = synced
    root = tmp_path / "a.zarr"
    assert last == root / FILE
    for plan in open_cache(root).plans.values():
        files = [root / plan.file_name(0, shard) for shard in plan.shards]
        assert set(files) <= set(before)
        assert {file.name for file in files} <= names[
            root / plan.path
        ]  # a folder keeps the names it had when synced


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc to name open files")
def test_samples_that_are_committed_together_are_by_one_sync_of_the_ledger_behind_all_their_data(
    tmp_path, monkeypatch
):
    synced, text = [], EncodedText({"text_encoder": 0}, "ab12")
    with open_writer(tmp_path / "a.zarr") as writer:
        monkeypatch.setattr(
            os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").resolve())
        )
        for sample in (0, 1):
            fill(writer, sample)
        writer.commit_together({1: text, 0: None}, live="0123456789abcdef", batch=[1, 0])
        monkeypatch.undo()
    *before, last = synced
    root = tmp_path / "a.zarr"
    assert last == root / FILE
    assert root / FILE not in before
    plans = open_cache(root).plans.values()
    data = {
        root / plan.file_name(sample, shard) for plan in plans for shard in plan.shards for sample in (0, 1)
    }
    assert data <= set(before)
    one_by_one = open_cache(record(tmp_path / "b.zarr")).ledger
    ledger = open_cache(root).ledger
    assert list(ledger) == [1, 0]
    assert {at: entry.files for at, entry in ledger.items()} == {at: one_by_one[at].files for at in (1, 0)}
    assert [(ledger[at].text, ledger[at].live, ledger[at].batch) for at in (0, 1)] == [
        (own, "0123456789abcdef", (1, 0)) for own in (None, text)
    ]
    assert verify(root).ok  # `done` too, in its one chunk


@pytest.mark.parametrize("name", [f"{HIDDEN}/c.0.0.0.0.0.0", "images/c.1.0.0.0"])
@pytest.mark.parametrize("how", ["missing", "short"])
def test_a_store_cut_short_names_sample_and_file(store, name, how):
    path = store / name
    if how == "short":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    sample = name.split("/c.")[1][0]
    found = r"\d+ bytes in" if how == "short" else "no file"
    with pytest.raises(CacheError, match=rf"found {found} {name} of committed sample {sample}"):
        open_cache(store, check_files=True)
    assert open_cache(store).committed == (0, 1)
    with pytest.raises(CacheError, match=name), open_writer(store):
        pass
