from __future__ import annotations

import numpy as np
from figure_checks import check_readable, lines_of, same_picture, shuffled, words

import ditscope as ds
from ditscope.plots import channel_spectrum
from ditscope.plots._scores import over_median


def test_curves_are_sorted_and_the_top_k_is_marked(scores) -> None:
    ax = channel_spectrum(scores, k=6).axes[0]
    curves = lines_of(ax)
    assert list(curves) == scores.block_name.values.tolist()
    assert np.allclose(curves["single.5"], np.sort(scores.values[9])[::-1])
    assert any(np.allclose(line.get_xdata(), 6.5) for line in ax.lines)
    relative = lines_of(channel_spectrum(scores, relative=True).axes[0])
    assert np.allclose(relative["double.0"], np.sort(over_median(scores.values)[0])[::-1])


def test_blocks_are_drawn_in_order(scores) -> None:
    assert same_picture(channel_spectrum(shuffled(scores, "block", "channel")), channel_spectrum(scores))


def test_what_rank_channels_returns_is_drawn_whole(recording) -> None:
    figure = channel_spectrum(ds.passes.rank_channels(recording, statistic="abs_mean"), k=4)
    check_readable(figure)
    assert "image stream" in words(figure)
    assert "site block_output" in words(figure)
    assert "channels scored by abs_mean" in words(figure)
