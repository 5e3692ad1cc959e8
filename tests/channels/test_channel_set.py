from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError


@dataclass
class Block:
    index: int
    name: str
    kind: str


BLOCKS = [Block(i, f"double.{i}", "double") for i in range(2)]
BLOCKS += [Block(i, f"single.{i - 2}", "single") for i in range(2, 5)]


def test_explicit_sets_of_unequal_size():
    channels = ChannelSet.of({2: [5, 1, 9], 7: [4]}, label="mine")
    assert channels[2].tolist() == [5, 1, 9]
    assert channels[Block(7, "single.5", "single")].tolist() == [4]
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
    with pytest.raises(InputError, match="draw=3"):
        many.draw(3)
    assert ChannelSet(ids[:, :1])[1].tolist() == [6, 7]  # a single draw needs no choice


def test_labels_not_positions():
    ids = xr.DataArray([[1], [2]], dims=("block", "rank"), coords={"block": [8, 4]})
    assert ChannelSet(ids)[4].tolist() == [2]
    assert ChannelSet(ids)[-1].tolist() == [1]  # the last block of the set, whatever its place in the array
    assert ChannelSet(ids).sel(block=-2)[0].tolist() == [2]
    for block in (0, -3, "4", 4.5, None, True):
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
    with pytest.raises(InputError, match="block 3"):
        channels.sel(block=3)
    with pytest.raises(InputError, match="a label that the set has"):
        full_set().sel(draw=3)


def test_blocks_by_name_kind_and_negative_index_of_a_model():
    channels = ChannelSet.of({"double.1": [1, 2], "single": [3], 0: [4]}, blocks=BLOCKS)
    assert channels.blocks == [1, 2, 3, 4, 0]
    assert channels["single.2"].tolist() == channels[-1].tolist() == channels[BLOCKS[4]].tolist() == [3]
    assert channels["double.0"].tolist() == [4]
    assert channels.sel(block=["single.0", 1]).blocks == [2, 1]
    with pytest.raises(InputError, match=r"'single', which stands for single.0 single.1 single.2"):
        channels["single"]
    with pytest.raises(InputError, match="each block once"):
        ChannelSet.of({"single": [3], 4: [5]}, blocks=BLOCKS)
    with pytest.raises(InputError, match="block 'triple'"):
        ChannelSet.of({"triple": [3]}, blocks=BLOCKS)
    assert ChannelSet.of([7], blocks=BLOCKS[:2])["double.1"].tolist() == [7]


@pytest.mark.parametrize("bad", [{"single": [1]}, {-1: [1]}, {1.5: [1]}, {True: [1]}, {None: [1]}])
def test_blocks_that_only_a_model_knows_are_refused_without_one(bad):
    with pytest.raises(InputError, match="blocks=dit.blocks"):
        ChannelSet.of(bad)


@pytest.mark.parametrize("bad", [5, None, "37", np.zeros((2, 2), int)])
def test_what_is_no_list_of_channels_is_refused(bad):
    with pytest.raises(InputError, match="channels"):
        ChannelSet.of(bad)


@pytest.mark.parametrize("ids", [[[-1, -1]], [[3, 3]], [[-2, 3]]])
def test_arrays_of_ids_that_are_no_sets_are_refused(ids):
    with pytest.raises(InputError, match="distinct whole numbers from 0"):
        ChannelSet(xr.DataArray(ids, dims=("block", "rank")))
    with pytest.raises(InputError, match="stream 'sound'"):
        ChannelSet.of([3], stream="sound")


def full_set() -> ChannelSet:
    ids = xr.DataArray(
        np.arange(12).reshape(2, 3, 2),
        dims=("block", "draw", "rank"),
        coords={"block": [0, 4], "draw": range(3), "block_name": ("block", ["double.0", "single.0"])},
    )
    ratio = ids.isel(rank=0) * np.float32(0.1)
    return ChannelSet(ids, "text", "random 2", ratio.where(ratio > 0), control=True)


def test_sets_go_through_json_pickle_and_copies_unchanged():
    channels = full_set()
    again = ChannelSet.from_json(json.loads(json.dumps(channels.to_json(), allow_nan=False)))
    assert again == channels == pickle.loads(pickle.dumps(channels)) == copy.deepcopy(channels) == full_set()
    assert hash(again) == hash(channels)
    xr.testing.assert_equal(again.ids, channels.ids)
    xr.testing.assert_equal(again.match_ratio, channels.match_ratio)
    assert again.match_ratio.dtype == channels.match_ratio.dtype
    assert again != ChannelSet(channels.ids, "text", "random 2", channels.match_ratio)  # not a control
    assert again != channels.draw(0)


def test_parts_of_a_control_are_controls():
    channels = full_set()
    assert channels.sel(draw=1).control
    assert channels.draw(1).control
    assert ChannelSet.of([1], control=True).control
    assert not ChannelSet.of([1]).control
    assert "a control" in repr(channels)
    assert "<script" not in ChannelSet.of([1], label="<script>")._repr_html_()


def test_blocks_by_name_without_a_model():
    channels = ChannelSet.of({"single.2": [1, 4], "double.1": [3]})
    assert channels.blocks == ["single.2", "double.1"]
    assert channels["single.2"].tolist() == channels[BLOCKS[4]].tolist() == [1, 4]
    assert channels.sel(block="double.1")["double"].tolist() == [3]
    assert ChannelSet.from_json(json.loads(json.dumps(channels.to_json()))) == channels
    for unknown in (-1, 0, BLOCKS[0], "single.0"):  # only a model knows which index a name has
        with pytest.raises(InputError, match="block"):
            channels[unknown]
    with pytest.raises(InputError, match="all by index or all by name"):
        ChannelSet.of({"single.2": [1], 0: [2]})


def test_a_set_comes_back_from_its_file(tmp_path):
    channels = full_set()
    channels.to_file(tmp_path / "set.json")
    assert ChannelSet.from_file(tmp_path / "set.json") == channels
    (tmp_path / "set.json").write_text("{")
    with pytest.raises(InputError, match=r"set\.json, which is no JSON"):
        ChannelSet.from_file(tmp_path / "set.json")
