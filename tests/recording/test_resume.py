import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import store_recording
from store_recording import bits, files_below, make_schema, record

import ditscope
from ditscope.cache import open_cache, verify

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
    import zarr

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


def test_nothing_is_left_when_creation_fails(tmp_path, monkeypatch):
    from ditscope.cache import creation

    monkeypatch.setattr(creation, "_sync_tree", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        record(tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_resuming_in_another_environment_is_allowed(tmp_path):
    from ditscope.cache import CacheWriter, build_manifest

    store = record(tmp_path / "a.zarr", samples=[0])
    schema = make_schema()
    manifest = build_manifest(schema, store_recording.CONFIG, {"device": "cuda:1", "versions": {}})
    with CacheWriter.create_or_resume(store, schema, manifest) as writer:
        assert writer.committed == {0}
        assert writer.manifest["environment"]["device"] == "cpu"
