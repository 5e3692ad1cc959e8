import errno
import itertools
import os
import threading

import numpy as np
import pytest
import xarray as xr
import zarr
from store_recording import SAMPLES, bits, files_below, make_manifest, make_schema, open_writer, record

from ditscope.cache import SampleSpec, files, open_cache, verify
from ditscope.cache.layout import plan_arrays
from ditscope.cache.lock import held
from ditscope.cache.sample_ledger import FILE, Ledger, samples_line
from ditscope.cache.store_creation import create_store
from ditscope.errors import CacheError


def _create(path):
    schema = make_schema()
    create_store(path, schema, plan_arrays(schema), make_manifest(schema), Ledger((), {}))
    return path


def test_plain_zarr_and_xarray_give_the_same_values_and_labels(store):
    cache, tree = open_cache(store), xr.open_datatree(store, engine="zarr", consolidated=False)
    for stream in ("image", "text"):
        ours, plain = cache.hidden(stream), tree[f"{stream}/block_output"]["hidden"]
        assert plain.dims == ours.dims
        np.testing.assert_array_equal(bits(plain.values), bits(ours.values))
        for name in (
            "sample",
            "prompt",
            "seed",
            "step",
            "sigma",
            "branch",
            "block",
            "block_name",
            "channel",
            "token",
        ):
            assert plain[name].values.tolist() == ours[name].values.tolist(), name
        array = zarr.open_group(store, mode="r")[f"{stream}/block_output/hidden"]
        np.testing.assert_array_equal(bits(array[...]), bits(ours.values))
    np.testing.assert_array_equal(tree["images"].values, cache.images.values)
    assert tree["done"].values.tolist() == [True, True]


def test_growth_is_followed_by_arrays_and_labels(store):
    before = files_below(store)
    more = [SampleSpec("a new one", 3, {}, {"class": 5}), *SAMPLES]
    with open_writer(store, samples=more) as writer:
        assert writer.positions == [2, 0, 1]
        assert writer.samples == [*SAMPLES, more[0]]
        tree = xr.open_datatree(store, engine="zarr", consolidated=False)
        assert {node.sizes["sample"] for node in tree.subtree if "sample" in node.sizes} == {3}
        assert tree["prompt"].values.tolist() == [spec.prompt for spec in writer.samples]
        assert tree["image/block_output"]["seed"].values.tolist() == [0, 7, 3]
        assert tree["done"].values.tolist() == [True, True, False]
    record(store, specs=more)
    assert verify(store).ok
    data = {name: content for name, content in before.items() if "/c.0." in name or "/c.1." in name}
    after = files_below(store)
    assert {name: after[name] for name in data} == data
    array = zarr.open_group(store, mode="r")["image/block_output/hidden"]
    np.testing.assert_array_equal(bits(array[...]), bits(open_cache(store).hidden().values))
    assert open_cache(store).committed == (0, 1, 2)


def test_a_store_that_grows_is_the_store_that_had_all_at_once(tmp_path):
    grown = record(record(tmp_path / "a.zarr", specs=SAMPLES[:1]))
    whole = record(tmp_path / "b.zarr")
    ours, theirs = files_below(grown), files_below(whole)
    assert ours.keys() == theirs.keys()
    assert [n for n in ours if ours[n] != theirs[n] and n not in ("zarr.json", FILE)] == []


@pytest.mark.parametrize("call", ["write_new", "sync_folder", "rename", "make_folders"])
@pytest.mark.parametrize("nth", [1, 3])
def test_nothing_is_left_when_creation_fails(tmp_path, monkeypatch, call, nth):
    original, count = getattr(files, call), itertools.count(1)

    def failing(*arguments, **options):
        if next(count) == (nth if call != "rename" else 1):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments, **options)

    monkeypatch.setattr(files, call, failing)
    with pytest.raises((OSError, CacheError), match="No space left"):
        _create(tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_what_cut_off_creations_left_is_removed_but_not_of_those_under_way(tmp_path):
    names = [".a.zarr.0123abcd.partial", ".a.zarr.4567abcd.partial", ".b.zarr.0123abcd.partial"]
    for name in names:
        (tmp_path / name / "inner").mkdir(parents=True)
    with held(tmp_path / names[1]):
        _create(tmp_path / "a.zarr")
        assert sorted(path.name for path in tmp_path.iterdir()) == [*names[1:], "a.zarr"]


def test_of_two_creators_one_wins_and_the_other_is_told(tmp_path):
    barrier, outcomes = threading.Barrier(4), []

    def create():
        barrier.wait()
        try:
            outcomes.append(_create(tmp_path / "a.zarr"))
        except CacheError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [outcome for outcome in outcomes if isinstance(outcome, CacheError)]
    assert len(outcomes) == 4
    assert len(lost) == 3
    assert all("that cannot be had" in str(error) for error in lost)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert open_cache(tmp_path / "a.zarr").committed == ()


@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_is_there_already_stays(tmp_path, there):
    path = tmp_path / "a.zarr"
    if there == "file":
        path.write_bytes(b"mine")
    else:
        path.mkdir()
        (path / "mine").write_bytes(b"mine")
    with pytest.raises(CacheError, match="a.zarr that cannot be had"):
        _create(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
    assert (path if there == "file" else path / "mine").read_bytes() == b"mine"


def test_every_file_and_folder_is_synced_before_the_store_has_its_name(tmp_path, synced):
    store = _create(tmp_path / "a.zarr")
    assert synced[-1] == tmp_path
    partial = {str(path.relative_to(tmp_path)).split("/", 1)[-1] for path in synced[:-1]}
    assert set(files_below(store)) <= partial
    assert {str(path.relative_to(store)) for path in store.rglob("*") if path.is_dir()} <= partial


def test_metadata_that_was_damaged_is_written_anew_by_the_next_writer(store):
    os.unlink(store / "image/zarr.json")
    (store / "seed/c.0").write_bytes(b"?")
    assert not verify(store).ok
    with open_writer(store):
        pass
    assert verify(store).ok


TENSORS = {digest * 16: np.arange(6, dtype="f4").reshape(2, 3) for digest in "b0a"}


def test_a_new_store_has_its_samples_and_tensors_as_soon_as_it_has_its_name(tmp_path, monkeypatch):
    """Nothing of it is written twice, and it is byte for byte what an empty store is that gains them."""
    with monkeypatch.context() as patch:
        for name in ("replace", "append", "overwrite"):
            patch.setattr(files, name, None)
        open_writer(tmp_path / "a.zarr", tensors=TENSORS).close()
    open_writer(tmp_path / "b.zarr", samples=()).close()
    open_writer(tmp_path / "b.zarr", tensors=TENSORS).close()
    ours, theirs = files_below(tmp_path / "a.zarr"), files_below(tmp_path / "b.zarr")
    assert ours.keys() == theirs.keys()
    of_time = ("zarr.json", FILE)  # with the time of creation, or its hash
    assert [name for name in ours if ours[name] != theirs[name] and name not in of_time] == []
    lines, others = (own[FILE].splitlines()[1:] for own in (ours, theirs))
    assert lines == others
    assert verify(tmp_path / "a.zarr").ok
    cache = open_cache(tmp_path / "a.zarr")
    assert (cache.specs, list(cache.call_tensors), cache.committed) == (SAMPLES, list(TENSORS), ())


def test_what_another_writer_began_to_add_before_the_new_store_is_held_stays(tmp_path, monkeypatch):
    path, more = tmp_path / "a.zarr", SampleSpec("a new one", 3)

    def created(*arguments):
        end = create_store(*arguments)
        files.append(path / FILE, samples_line(len(SAMPLES), [more]), end)
        return end

    monkeypatch.setattr("ditscope.cache.writer.create_store", created)
    with open_writer(path) as writer:
        assert writer.samples == [*SAMPLES, more]
        assert verify(path).ok


def test_a_label_that_is_missing_or_damaged_is_found_whatever_its_length(store):
    for name, spoil in (("seed/c.0", lambda b: b + b"?"), ("sample/c.0", lambda b: b[:-1] + b"?")):
        (store / name).write_bytes(spoil((store / name).read_bytes()))
    (store / "done/zarr.json").unlink()
    moved = (store / "prompt").rename(store.with_name("elsewhere"))
    (store / "prompt").symlink_to(moved)
    found = {damage.file for damage in verify(store).damaged}
    assert found == {"seed/c.0", "sample/c.0", "done/zarr.json", "prompt/c.0", "prompt/zarr.json"}
    before = files_below(moved)
    with pytest.raises(CacheError, match="a link at .*prompt"):
        open_writer(store)
    assert files_below(moved) == before
