from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from figure_checks import check_readable, drawn, mesh_of, same_picture, shuffled
from figure_data import MASSIVE
from matplotlib.collections import LineCollection, PolyCollection

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError
from ditscope.plots import token_channel


def test_heatmap_draws_the_absolute_value_of_bfloat16(hidden) -> None:
    low = hidden.astype(ml_dtypes.bfloat16)
    mesh = mesh_of(token_channel(low, kind="heatmap", massive=[37]))
    expected = np.abs(low.astype("float32").values)
    assert np.array_equal(mesh[:, 37], expected[:, 37])  # negative in the data


def test_ridges_are_the_massive_channels(hidden) -> None:
    ax = drawn(token_channel(hidden, massive=MASSIVE)).axes[0]
    ridges = next(c for c in ax.collections if isinstance(c, PolyCollection))
    quiet = next(c for c in ax.collections if isinstance(c, LineCollection))
    assert len(ridges.get_paths()) == len(MASSIVE)
    assert len(quiet.get_paths()) == 128 - len(MASSIVE)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "9", "37", "101", "127"]


@pytest.mark.parametrize("kind", ["ridges", "heatmap"])
def test_tokens_and_channels_are_drawn_in_order(hidden, kind: str) -> None:
    turned = shuffled(hidden, "token", "channel")
    assert same_picture(
        token_channel(turned, massive=MASSIVE[::-1], kind=kind),
        token_channel(hidden, massive=MASSIVE, kind=kind),
    )


def test_of_a_set_the_channels_of_the_block_shown_are_marked(hidden) -> None:
    sets = ChannelSet.of({0: [1, 2], 9: MASSIVE})
    assert same_picture(token_channel(hidden, massive=sets), token_channel(hidden, massive=MASSIVE))
    assert same_picture(
        token_channel(hidden, massive=ChannelSet.of(MASSIVE)), token_channel(hidden, massive=MASSIVE)
    )
    with pytest.raises(InputError, match="text stream; expected the image stream"):
        token_channel(hidden, massive=ChannelSet.of(MASSIVE, stream="text"))
    with pytest.raises(InputError, match="block 9"):
        token_channel(hidden, massive=ChannelSet.of({0: [1, 2]}))


def test_a_ranking_of_each_step_marks_the_step_shown(recording) -> None:
    few = recording.isel(sample=slice(0, 4)).copy()
    few.loc[{"step": 4, "channel": 0}] *= 50
    sets = ds.passes.rank_channels(few, over=("sample", "branch", "token")).top(1)
    for step, channel in ((4, 0), (9, 12)):
        one = few.sel(sample=0, step=step, branch="cond", block=1)
        figure = token_channel(one, massive=sets)
        check_readable(figure)
        assert same_picture(figure, token_channel(one, massive=[channel]))
