"""Tensors one at a time: the right ones, each read once, in bounded memory."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from ditscope.channels import ChannelSet
from ditscope.errors import InputError
from ditscope.passes import tensors
from ditscope.passes.tensors import MemberTable, each_tensor, with_places


def test_every_tensor_comes_once_with_steps_in_order(make_hidden, monkeypatch) -> None:
    hidden = make_hidden(samples=3, steps=4, chunks=None)
    loaded: list[int] = []

    def read(block: np.ndarray) -> np.ndarray:
        loaded.append(block.nbytes)
        return block

    lazy = hidden.chunk(sample=1, step=1, block=2)
    lazy = lazy.copy(
        data=da.map_blocks(read, lazy.data, dtype=lazy.dtype, meta=np.empty((0,) * 6, hidden.dtype))
    )
    monkeypatch.setattr(tensors, "_SLAB_BYTES", 4 * 36 * 24 * 3)  # fewer than a chunk of blocks and steps
    seen = list(each_tensor(lazy, "test"))
    assert sorted(tensor.at for tensor in seen) == list(np.ndindex(3, 4, 2, 4))
    for sample, branch, block in np.ndindex(3, 2, 4):
        steps = [t.at[1] for t in seen if (t.at[0], t.at[2], t.at[3]) == (sample, branch, block)]
        assert steps == [0, 1, 2, 3]
    for tensor in seen:
        np.testing.assert_array_equal(tensor.values, hidden.values[tensor.at].astype(np.float32))
    assert sum(loaded) == 2 * hidden.nbytes  # each chunk has both branches, which are read one by one


def test_padding_is_left_out(make_hidden) -> None:
    hidden = make_hidden(samples=2, steps=1, blocks=1, chunks=None)
    mask = np.arange(36) < np.array([[36, 7], [20, 9]])[..., None]
    masked = hidden.assign_coords(token_mask=(("sample", "branch", "token"), mask))
    for tensor in each_tensor(with_places(masked), "test"):
        kept = mask[tensor.at[0], tensor.at[2]]
        np.testing.assert_array_equal(tensor.values, hidden.values[tensor.at][kept].astype(np.float32))


def test_dims_that_were_selected_away_come_back(make_hidden) -> None:
    one = make_hidden(chunks=None).isel(sample=2, branch=1, block=0)
    found = with_places(one)
    assert found.shape == (1, 3, 1, 1, 36, 24)
    assert found["sample"].values.tolist() == [2]


def test_members_are_those_of_the_place(make_hidden) -> None:
    hidden = with_places(
        make_hidden(samples=2, blocks=2, chunks=None).assign_coords(channel=np.arange(24) * 2)
    )
    by_step = xr.DataArray(
        [[[4], [6]], [[8], [10]], [[0], [2]]],
        dims=("step", "block", "rank"),
        coords={"step": [0, 1, 2], "block": [0, 1]},
    )
    drawn = xr.DataArray([[2, 4], [6, 8]], dims=("draw", "rank"))
    table = MemberTable(hidden, {"by step": ChannelSet(by_step), "drawn": ChannelSet(drawn, control=True)})
    found = {key: np.flatnonzero(member).tolist() for key, member in table.at((1, 1, 0, 1))}
    assert found == {(0, 0): [5], (1, 0): [1, 2], (1, 1): [3, 4]}
    assert table.shape == (2, 2)
    assert table.coords()["control"] == ("selector", [False, True])


def test_sets_that_do_not_fit_are_refused_before_reading(make_hidden) -> None:
    hidden = with_places(make_hidden(blocks=2, chunks=None))
    for sets, words in (
        ({}, "no channel sets"),
        ({"a": ChannelSet.of([1], stream="text")}, "text stream"),
        ({"a": ChannelSet.of([24])}, "channel 24"),
        ({"a": ChannelSet.of({0: [1]})}, "block"),
    ):
        with pytest.raises(InputError, match=words):
            MemberTable(hidden, sets)
