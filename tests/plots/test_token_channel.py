from __future__ import annotations

from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from figure_checks import check_readable, drawn, mesh_of, same_picture, shuffled, words
from figure_data import MASSIVE
from matplotlib.collections import LineCollection
from matplotlib.text import Annotation, Text

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError
from ditscope.plots import token_channel


def named(figure) -> dict[str, tuple[float, float]]:
    """What is named above, and where its line ends."""
    return {each.get_text(): each.xy for each in figure.axes[0].texts if isinstance(each, Annotation)}


def test_the_absolute_value_of_bfloat16_is_drawn(hidden) -> None:
    low = hidden.astype(ml_dtypes.bfloat16)
    mesh = mesh_of(token_channel(low, massive=[37]))
    expected = np.abs(low.astype("float32").values)
    assert np.array_equal(mesh[:, 37], expected[:, 37])  # negative in the data


def test_bars_reach_from_the_median_token_to_the_largest(hidden) -> None:
    ax = drawn(token_channel(hidden, massive=MASSIVE)).axes[0]
    magnitude = np.abs(hidden.values)
    for bars in (each for each in ax.collections if isinstance(each, LineCollection)):
        at = [i for i in range(128) if (i in MASSIVE) == (bars.get_gid() == "massive")]
        ends = np.array(bars.get_segments())
        assert ends[:, 0, 0].tolist() == at
        np.testing.assert_allclose(ends[:, 1, 1], magnitude.max(0)[at])
        floor = np.maximum(np.median(magnitude, 0), np.median(magnitude) / 2)[at]
        np.testing.assert_allclose(ends[:, 0, 1], floor)


def test_the_largest_channel_is_named_whatever_is_marked(hidden) -> None:
    largest = np.unravel_index(int(np.abs(hidden.values).argmax()), hidden.shape)
    for marked in ((), [1], [int(largest[1])]):
        figure = token_channel(hidden, massive=marked)
        names = named(figure)
        assert set(names) == {str(largest[1]), *map(str, marked)}
        assert names[str(largest[1])] == (largest[1], pytest.approx(np.abs(hidden.values).max()))
    assert f"of channel {largest[1]} at token {largest[0]}" in words(figure).replace("\n", " ")


def test_names_of_neighbours_do_not_touch_and_of_many_the_largest_are_named(hidden) -> None:
    figure = drawn(token_channel(hidden, massive=[*range(100, 128), 0]))
    check_readable(figure)
    renderer = figure.canvas.get_renderer()
    found = [each for each in figure.axes[0].texts if isinstance(each, Annotation)]
    boxes = sorted((Text.get_window_extent(each, renderer) for each in found), key=lambda box: box.x0)
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
    peaks = np.abs(hidden.values).max(0)
    twelve = sorted([*range(100, 128), 0], key=lambda at: -peaks[at])[:12]
    assert set(named(figure)) == set(map(str, {*twelve, int(peaks.argmax())}))


def test_values_that_are_not_finite_are_grey_and_said(hidden) -> None:
    broken = hidden.copy()
    broken[3, 5], broken[:, 6] = np.inf, np.nan
    figure = token_channel(broken, massive=[6])
    check_readable(figure)
    assert f"{1 + hidden.sizes['token']} values are not finite" in words(figure).replace("\n", " ")
    assert np.ma.getmaskarray(mesh_of(figure))[3, 5]
    check_readable(token_channel(hidden * np.nan))


def test_tokens_and_channels_are_drawn_in_order(hidden) -> None:
    turned = shuffled(hidden, "token", "channel")
    assert same_picture(token_channel(turned, massive=MASSIVE[::-1]), token_channel(hidden, massive=MASSIVE))


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
