"""What every pass takes and refuses, by way of one of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.errors import InputError
from ditscope.passes.source import whole_chunks


def test_uncommitted_samples_do_not_count(make_hidden):
    hidden = make_hidden(dtype=np.float32, chunks=None)
    hidden[4:] = np.nan  # what a store holds before a sample is committed
    hidden["done"].values[4:] = False
    with pytest.warns(UserWarning, match="2 of 6 samples"):
        found = passes.channel_statistics(hidden)
    assert found["nonfinite"].sum() == 0
    np.testing.assert_allclose(found["mean_abs"], passes.channel_statistics(hidden[:4])["mean_abs"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda h: passes.channel_statistics(h, over=("sample", "time")), "'time'"),
        (lambda h: passes.channel_statistics(h, over=("channel",)), "'channel'"),
        (lambda h: passes.channel_statistics(h, stream="text"), "stream='image'"),
        (lambda h: passes.channel_statistics(h, site="mlp_output"), "site='block_output'"),
        (lambda h: passes.channel_statistics("store.zarr"), "open_cache"),
        (lambda h: passes.channel_statistics(h[:0]), "no samples"),
        (lambda h: passes.channel_statistics(h.rename(step="time")), "time"),
        (lambda h: passes.channel_statistics(h.to_dataset(name="mean")), "mean_abs, std, abs_max"),
        (
            lambda h: passes.channel_statistics(h.isel(sample=[0]).assign_coords(done=("sample", [False]))),
            "complete",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(make_hidden, call, words):
    with pytest.raises(InputError, match=words):
        call(make_hidden())


def counting_reads(hidden, read):
    """The array, with a list that grows by one for each chunk that is read."""

    def note(block, block_info=None):
        if block_info:
            read.append(tuple(block_info[0]["chunk-location"]))
        return block

    return hidden.copy(data=hidden.data.map_blocks(note, dtype=hidden.dtype, meta=hidden.data._meta))


@pytest.mark.parametrize(
    "chunks", [{"sample": 3, "block": 2}, {"sample": 1, "block": 4}, {"sample": 6, "step": 1}]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda h: passes.rank_channels(h),
        lambda h: passes.stability(h, across=["sample", "step", "block"], permutations=1),
        lambda h: passes.samples_needed(h, k=3, batch_size=1, window=1, patience=1),
        lambda h: passes.spatial_masks(h, [1, 2], blocks=None, steps=None, branch="cond"),
    ],
)
def test_each_chunk_is_read_once(make_hidden, monkeypatch, call, chunks):
    for module, name in (("stability", "_LOADED_BYTES"), ("latent_masks", "_SLAB_BYTES")):
        monkeypatch.setattr(sys.modules[f"ditscope.passes.{module}"], name, 1)  # no more than a chunk at once
    read = []
    call(counting_reads(make_hidden(branches=1, dtype=np.float32, chunks={"channel": -1, **chunks}), read))
    assert read
    assert len(read) == len(set(read))


def test_spans_are_of_whole_chunks():
    array = xr.DataArray(np.zeros(10), dims="sample")
    assert whole_chunks(array, "sample", 4) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert whole_chunks(array, "sample", 0) == [slice(at, at + 1) for at in range(10)]
    chunked = array.chunk(sample=(3, 3, 3, 1))
    assert whole_chunks(chunked, "sample", 7) == [slice(0, 6), slice(6, 10)]
    assert whole_chunks(chunked, "sample", 1) == [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 10)]
