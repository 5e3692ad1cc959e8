from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from ditscope.errors import InputError
from ditscope.passes import ChannelSet


@dataclass
class Block:
    index: int


def test_explicit_sets_of_unequal_size():
    channels = ChannelSet.of({2: [5, 1, 9], 7: [4]}, label="mine")
    assert channels[2].tolist() == [5, 1, 9]
    assert channels[Block(7)].tolist() == [4]
    assert (channels.k, channels.draws, channels.blocks, channels.kept) == (3, 1, [2, 7], ("block",))
    assert "mine" in repr(channels)


def test_one_list_for_blocks_or_for_any_block():
    assert ChannelSet.of([3, 1], blocks=range(4))[3].tolist() == [3, 1]
    anywhere = ChannelSet.of(np.array([3, 1]))
    assert anywhere[17].tolist() == [3, 1]
    assert anywhere.blocks is None
    assert ChannelSet.of({4, 2}).k == 2


def test_a_block_by_name():
    ids = xr.DataArray([[1, 2], [3, 4]], dims=("block", "rank"), coords={"block": [0, 19]})
    named = ChannelSet(ids.assign_coords(block_name=("block", ["double.0", "single.0"])))
    assert named["single.0"].tolist() == [3, 4]
    with pytest.raises(InputError, match=r"single\.7"):
        named["single.7"]


def test_draws():
    ids = xr.DataArray(
        np.arange(12).reshape(2, 3, 2), dims=("block", "draw", "rank"), coords={"block": [0, 1]}
    )
    many = ChannelSet(ids)
    assert many.draws == 3
    assert many.draw(2)[1].tolist() == [10, 11]
    with pytest.raises(InputError, match="one set for each draw"):
        many[0]
    with pytest.raises(InputError, match="draw 3"):
        many.draw(3)
    assert ChannelSet(ids[:, :1])[1].tolist() == [6, 7]  # a single draw needs no choice


def test_labels_not_positions():
    ids = xr.DataArray([[1], [2]], dims=("block", "rank"), coords={"block": [8, 4]})
    assert ChannelSet(ids)[4].tolist() == [2]
    for block in (0, -1, "4", 4.5):
        with pytest.raises(InputError, match="block"):
            ChannelSet(ids)[block]


@pytest.mark.parametrize("bad", [[], [1, 1], [-1], [1.5], ["a"], [True, False], {}, {0: []}])
def test_bad_ids_are_refused(bad):
    with pytest.raises(InputError):
        ChannelSet.of(bad)


def test_sel_refuses_unknown_dims_and_labels():
    channels = ChannelSet.of({2: [5]})
    with pytest.raises(InputError, match="'step'"):
        channels.sel(step=0)
    with pytest.raises(InputError, match="label"):
        channels.sel(block=3)
