import multiprocessing
import os
import pickle
import warnings

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_recording import (
    addresses,
    bits,
    hidden_value,
    make_schema,
    record,
)

from ditscope.cache import (
    Address,
    files,
    open_cache,
)
from ditscope.cache.lazy_array import StoredArray
from ditscope.errors import CacheError
from patience import SECONDS

HIDDEN = "image/block_output/hidden"


@pytest.fixture
def read_bytes(monkeypatch):
    """How many bytes each read of a file asks for."""
    sizes, honest = [], files.read_into

    def counted(handle, offset, target):
        sizes.append(len(target))
        return honest(handle, offset, target)

    monkeypatch.setattr(files, "read_into", counted)
    return sizes


def test_opening_reads_no_values(store, monkeypatch):
    monkeypatch.setattr(StoredArray, "__getitem__", lambda *_: pytest.fail("a value was read"))
    cache = open_cache(store)
    cache.hidden("image")
    cache.stats("image")
    assert cache.trajectory.sizes
    assert repr(cache)


def test_a_few_channels_are_read_without_the_tensor(tmp_path):
    """Damage every chunk that holds other channels: a read of few channels must not notice."""
    schema = make_schema(channels=tuple(range(64)), width=80)
    store = record(tmp_path / "a.zarr", schema)
    path = store / HIDDEN / "c.0.0.0.0.0.0"
    data = bytearray(path.read_bytes())
    pitch = 12 * 32 * 2 + 4
    for value in range(len(addresses(schema))):
        data[(value * 2 + 1) * pitch + 7] ^= 0xFF
    path.write_bytes(data)
    hidden = open_cache(store).hidden
    expected = hidden_value(schema, 0, Address("image", "block_output", 3, "cond", 4))
    few = hidden(channels=[0, 31, 7]).isel(sample=0, step=1, branch=0, block=2)
    np.testing.assert_array_equal(bits(few.values), bits(expected[:, [0, 31, 7]]))
    sliced = hidden().isel(sample=0, step=1, branch=0, block=2, channel=slice(4, 20))
    np.testing.assert_array_equal(bits(sliced.values), bits(expected[:, 4:20]))
    with pytest.raises(CacheError, match=r"unreadable data at .*block 0, channel 32 to 63 in .*verify"):
        hidden().values  # noqa: B018


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_task_reads_the_chunks_it_needs_and_no_more(tmp_path, read_bytes, compression):
    """dask fuses the selection into the read; the read takes whole chunks, each with its checksum, of one file."""
    store = record(tmp_path / "a.zarr", make_schema(compression=compression, channels=tuple(range(64))))
    hidden = open_cache(store).hidden()
    read_bytes.clear()
    chosen = hidden.sel(sample=0, step=3, block=1, branch="cond", channel=slice(3, 12)).astype("f4")
    assert chosen.values.shape == (12, 10)
    chunk = 12 * 32 * 2 + 4
    if compression is None:
        assert read_bytes == [chunk]
    else:  # the index says where it is
        index = 2 * 2 * 3 * 2 * 16 + 4
        assert read_bytes[0] == index
        assert len(read_bytes) == 2
        assert read_bytes[1] < 2 * chunk
    read_bytes.clear()
    # Blocks that are neighbours in the file are one read.
    hidden.sel(sample=1, step=1, branch="uncond").load()
    if compression is None:
        assert read_bytes == [6 * chunk]


def test_one_statistic_is_read_without_the_others(store, read_bytes):
    stats = open_cache(store).stats()
    read_bytes.clear()
    stats["std"].sel(sample=1).load()
    assert read_bytes == [2 * 2 * 3 * 70 * 4 + 4]


def test_small_samples_share_a_task(store):
    hidden = open_cache(store).hidden()
    assert hidden.chunks[0] == (2,)
    assert hidden.data.npartitions == 1


def chosen_along(data, length, kinds):
    """A key along an axis, of what numpy and a store both take."""
    kind = data.draw(st.sampled_from(kinds))
    if kind == "all":
        return slice(None)
    if kind == "integer":
        return data.draw(st.integers(-length, length - 1))
    if kind == "list":
        return data.draw(st.lists(st.integers(-length, length - 1), max_size=4))
    if kind == "empty":
        return slice(length, None)
    return data.draw(st.slices(length))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Stores whose files are cut in several ways, each with its values as they were put, by name."""
    found = {}
    for name, changes in {
        "one file": {},
        "zstd": {"compression": "zstd"},
        "file for each block": {"shard_bytes": 2**10},
        "two blocks in a file": {"shard_bytes": 2 * 12 * 70 * 2, "compression": "zstd"},
    }.items():
        schema = make_schema(
            streams=make_schema().streams[:1], trajectory=None, image_height=None, image_width=None, **changes
        )
        store = record(tmp_path_factory.mktemp("recorded") / "a.zarr", schema)
        values = np.empty((2, 2, 2, 3, 12, 70), open_cache(store).hidden().dtype)
        for sample in (0, 1):
            for place, address in zip(np.ndindex(2, 2, 3), addresses(schema), strict=True):
                values[sample, *place] = hidden_value(schema, sample, address)
        found[name] = open_cache(store), values
    return found


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_selection_is_numpys(recorded, data):
    """Integers and slices on any axis with a list on one, of an array with chosen samples and channels."""
    cache, values = recorded[data.draw(st.sampled_from(sorted(recorded)))]
    samples = data.draw(st.sampled_from([(0, 1), (1,), (1, 0), (1, 1)]))
    channels = data.draw(st.sampled_from([None, (5, 3, 69), (0, 1, 2, 3), (64, 2, 2, 40)]))
    array = StoredArray(cache.source(HIDDEN), samples, channels)
    reference = values[list(samples)]
    if channels is not None:
        reference = reference[..., list(channels)]
    assert array.shape == reference.shape
    listed = data.draw(st.integers(-1, 5))
    key = tuple(
        chosen_along(data, n, ["list"] if axis == listed else ["all", "integer", "slice", "empty"])
        for axis, n in enumerate(reference.shape[: data.draw(st.integers(1, 6))])
    )
    np.testing.assert_array_equal(bits(array[key]), bits(reference[key]))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_orthogonal_selection_of_the_labelled_array_is_numpys(recorded, data):
    cache, values = recorded[data.draw(st.sampled_from(sorted(recorded)))]
    keys = [chosen_along(data, n, ["all", "integer", "slice", "list", "empty"]) for n in values.shape]
    hidden = cache.hidden()
    found = hidden.isel(dict(zip(hidden.dims, keys, strict=True))).values
    expected = values
    for axis, key in reversed(list(enumerate(keys))):
        expected = expected[(slice(None),) * axis + (key,)]
    np.testing.assert_array_equal(bits(found), bits(expected))


def test_arrays_can_be_sent_to_another_process(store):
    hidden = open_cache(store).hidden()
    sent = pickle.loads(pickle.dumps(hidden))
    np.testing.assert_array_equal(bits(sent.values), bits(hidden.values))


def total(array):
    return float(array.astype("f8").sum())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")
@pytest.mark.parametrize("pool", [None, 2])
def test_a_forked_child_reads_after_its_parent_has_read(store, pool):
    """The child has dask's thread pool without its threads."""
    hidden = open_cache(store).hidden().chunk({"sample": 1})
    with dask.config.set(num_workers=pool) if pool else dask.config.set({}), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        expected = total(hidden)
        with multiprocessing.get_context("fork").Pool(1) as child:
            assert child.apply_async(total, (hidden,)).get(timeout=SECONDS) == expected
        assert total(hidden) == expected


def test_a_spawned_process_reads_what_it_is_sent(store):
    hidden = open_cache(store).hidden()
    with multiprocessing.get_context("spawn").Pool(1) as child:
        assert child.apply_async(total, (hidden,)).get(timeout=SECONDS) == total(hidden)
