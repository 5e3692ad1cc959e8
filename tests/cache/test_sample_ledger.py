import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import store_recording
import zarr
from store_recording import (
    bits,
    edit_json,
    files_below,
    fill,
    make_manifest,
    make_schema,
    record,
)

import ditscope
from ditscope.cache import (
    CacheWriter,
    build_manifest,
    open_cache,
    verify,
)
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


def test_leftovers_of_a_killed_recording_are_cleared(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[0])
    folder = store / "image" / "block_output" / "c"
    stray = folder / "1" / "0" / "0" / "0" / "0" / "0.__lock"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half a shard")
    record(store, samples=[])
    assert not stray.parent.exists()
    assert (folder / "0").exists()


def test_done_repeats_the_ledger_even_after_a_kill_between_the_two(tmp_path):

    store = record(tmp_path / "a.zarr", samples=[0])
    (store / "done" / "c" / "0").unlink()
    record(store, samples=[])
    assert zarr.open(store, mode="r")["done"][:].tolist() == [True, False]


def test_a_sample_whose_entry_is_deleted_is_recorded_anew(tmp_path):
    store = record(tmp_path / "a.zarr")
    before = bits(open_cache(store).hidden().values)
    (store / "done" / "ledger" / "000000.json").unlink()
    assert open_cache(store).committed == (1,)
    record(store)
    np.testing.assert_array_equal(bits(open_cache(store).hidden().values), before)


def test_resuming_in_another_environment_is_allowed(tmp_path):
    from ditscope.cache import CacheWriter

    store = record(tmp_path / "a.zarr", samples=[0])
    schema = make_schema()
    manifest = build_manifest(schema, store_recording.CONFIG, {"device": "cuda:1", "versions": {}})
    with CacheWriter.create_or_resume(store, schema, manifest) as writer:
        assert writer.committed == {0}
        assert writer.manifest["environment"]["device"] == "cpu"


def test_the_live_state_of_a_sample_is_kept_by_its_digest(tmp_path):
    schema = make_schema()
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        for sample, live in enumerate(("0123456789abcdef", None)):
            fill(writer, sample)
            writer.commit(sample, live=live)
    cache = open_cache(tmp_path / "a.zarr")
    assert [cache.ledger[sample].live for sample in (0, 1)] == ["0123456789abcdef", None]
    assert cache.samples["live"].dropna().to_dict() == {0: "0123456789abcdef"}
    assert verify(cache).ok


def test_two_writers_at_once_are_refused(writer):
    with pytest.raises(CacheError, match="one writer at a time"):
        CacheWriter.create_or_resume(writer.path, writer.schema, make_manifest(writer.schema))


def test_commit_of_one_sample_leaves_the_others_files_alone(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[1])
    before = {name: (store / name).stat() for name in files_below(store)}
    record(store, samples=[0])
    for name, status in before.items():
        after = (store / name).stat()
        assert (after.st_mtime_ns, after.st_ino, after.st_size) == (
            status.st_mtime_ns,
            status.st_ino,
            status.st_size,
        ), name


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name open files")
def test_every_folder_of_a_sample_is_synced_before_its_ledger_entry(tmp_path, synced):
    schema = make_schema(shard_bytes=9_000)
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        created = len(synced)
        fill(writer, 0)
        writer.commit(0)
    committed = synced[created:]
    (entry,) = [i for i, path in enumerate(committed) if path.name.startswith(".000000.json")]
    store = tmp_path / "a.zarr"
    for name in next(iter(open_cache(store).ledger.values())).files:
        for folder in list((store / name).parents)[: name.count("/c/") + name.split("/c/")[1].count("/")]:
            assert folder in committed[:entry], folder
    assert store / "done" / "ledger" in committed[entry + 1 :]


@pytest.mark.parametrize(
    "name",
    ["image/block_output/c/0/0/0/0/0/0", "text/stats/block_output/mean/c/1/0/0/0/0", "images/c/1/0/0/0"],
)
@pytest.mark.parametrize("how", ["missing", "short", "link"])
def test_a_store_cut_short_names_sample_and_file(store, tmp_path, name, how):
    path = store / name
    if how == "short":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        data = path.read_bytes()
        path.unlink()
        if how == "link":
            (tmp_path / "elsewhere").write_bytes(data)
            path.symlink_to(tmp_path / "elsewhere")
    sample = name.split("/c/")[1][0]
    found = r"\d+ bytes in" if how == "short" else "no file"
    with pytest.raises(CacheError, match=rf"found {found} {name} of committed sample {sample}"):
        open_cache(store)
    assert open_cache(store, check_files=False).committed == (0, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["files"].update({"../../etc/passwd": [1, "0"]}),
        lambda entry: entry["files"].popitem(),
        lambda entry: entry.update(sample=1),
        lambda entry: entry.pop("files"),
        lambda entry: entry.update(files=[1]),
        lambda entry: entry.update(nonfinite={"image/block_output": "many"}),
        lambda entry: entry.update(saturated={"image/block_output": {"0": {"3": "many"}}}),
        lambda entry: entry.update(saturated={"image/block_output": 3}),
        lambda entry: entry.update(text={"cut": {"text_encoder": 1}}),
        lambda entry: entry.update(text=["text_encoder"]),
    ],
)
def test_an_altered_ledger_entry_is_refused(store, change):
    edit_json(store / "done/ledger/000000.json", change)
    with pytest.raises(CacheError, match=r"000000.json; expected"):
        open_cache(store)


def test_an_entry_of_a_sample_that_is_not_there_is_refused(store):
    (store / "done/ledger/000009.json").write_text("{}")
    with pytest.raises(CacheError, match="sample 9"):
        open_cache(store)


def test_what_text_encoders_were_given_comes_back(writer):
    text = EncodedText({"text_encoder": 12, "text_encoder_2": 0}, "ab12")
    fill(writer, 1)
    writer.commit(1, text)
    (entry,) = open_cache(writer.path).ledger.values()
    assert entry.text == text
    assert entry.saturated == {}


def test_an_entry_of_an_earlier_release_says_that_nothing_was_counted(store):
    def older(entry):
        del entry["saturated"], entry["text"]

    edit_json(store / "done/ledger/000000.json", older)
    cache = open_cache(store)
    assert (cache.ledger[0].saturated, cache.ledger[0].text) == (None, None)
    assert "not counted when this was recorded" in repr(cache)
    assert "truncated" not in cache.hidden().coords
