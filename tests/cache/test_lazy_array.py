import pickle

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
    open_cache,
)
from ditscope.cache.lazy_array import StoredArray
from ditscope.errors import CacheError


def test_opening_reads_no_values(store, monkeypatch):
    monkeypatch.setattr(StoredArray, "__getitem__", lambda *_: pytest.fail("a value was read"))
    cache = open_cache(store)
    cache.hidden("image")
    cache.stats("image")
    assert cache.trajectory.sizes
    assert repr(cache)


def test_a_few_channels_are_read_without_the_tensor(tmp_path, monkeypatch):
    """Damage every chunk that holds other channels: a read of few channels must not notice."""
    schema = make_schema(channels=tuple(range(64)), width=80)
    store = record(tmp_path / "a.zarr", schema)
    path = store / "image/block_output/c/0/0/0/0/0/0"
    data = bytearray(path.read_bytes())
    chunk = 12 * 32 * 2 + 4
    n_values = len(addresses(schema))
    index = np.frombuffer(data[-4 - 16 * 2 * n_values : -4], "<u8").reshape(n_values, 2, 2)
    for start, size in index[:, 1]:
        assert size == chunk
        data[int(start) + 7] ^= 0xFF
    path.write_bytes(data)
    hidden = open_cache(store).hidden
    expected = hidden_value(schema, 0, Address("image", "block_output", 3, "cond", 4))
    few = hidden(channels=[0, 31, 7]).isel(sample=0, step=1, branch=0, block=2)
    np.testing.assert_array_equal(bits(few.values), bits(expected[:, [0, 31, 7]]))
    sliced = hidden().isel(sample=0, step=1, branch=0, block=2, channel=slice(4, 20))
    np.testing.assert_array_equal(bits(sliced.values), bits(expected[:, 4:20]))
    with pytest.raises(CacheError, match=r"unreadable data in image/block_output.*verify"):
        hidden().values  # noqa: B018


def test_dask_fuses_selections_into_the_read(store, monkeypatch):
    asked = []
    original = StoredArray.__getitem__

    def spy(self, key):
        values = original(self, key)
        asked.append(values.size)
        return values

    hidden = open_cache(store).hidden()
    monkeypatch.setattr(StoredArray, "__getitem__", spy)
    chosen = hidden.sel(sample=0, step=3, block=1, branch="cond", channel=slice(13, 22)).astype("f4")
    assert chosen.values.shape == (12, 10)
    assert sum(asked) == 120


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_indexing_is_numpys(complete_store, data):
    path = complete_store
    cache = open_cache(path)
    samples = data.draw(st.sampled_from([(0, 1), (1,), (1, 0)]))
    channels = data.draw(st.sampled_from([None, (5, 3, 69), (0, 1, 2, 3)]))
    array = StoredArray(path, cache.plans["image/block_output"], samples, channels)
    reference = cache.hidden().values[list(samples)]
    if channels is not None:
        reference = reference[..., list(channels)]
    assert array.shape == reference.shape
    listed = data.draw(st.integers(-1, 5))
    key = tuple(
        data.draw(st.lists(st.integers(-length, length - 1), min_size=1, max_size=4))
        if axis == listed
        else data.draw(
            st.one_of(st.slices(length), *([] if listed >= 0 else [st.integers(-length, length - 1)]))
        )
        for axis, length in enumerate(reference.shape[: data.draw(st.integers(1, 6))])
    )
    np.testing.assert_array_equal(bits(array[key]), bits(reference[key]))


def test_arrays_can_be_sent_to_another_process(store):
    hidden = open_cache(store).hidden()
    sent = pickle.loads(pickle.dumps(hidden))
    np.testing.assert_array_equal(bits(sent.values), bits(hidden.values))
