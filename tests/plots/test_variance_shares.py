from __future__ import annotations

import numpy as np
from figure_checks import check_readable, same_picture, shuffled, words

import ditscope as ds
from ditscope.plots import variance_shares


def test_shares_are_stacked_to_one_with_a_panel_for_each(recording) -> None:
    made = {
        "massive": ds.passes.variance_components(recording, channels=[1, 2]),
        "others": ds.passes.variance_components(recording, channels=[3, 4, 5]),
    }
    figure = variance_shares(made, about={"model": "shapes"})
    check_readable(figure)
    for ax, (name, components) in zip(figure.axes, made.items(), strict=True):
        heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
        np.testing.assert_allclose(heights, components["share"].mean("channel"))
        np.testing.assert_allclose(np.sum(heights, axis=0), 1)
        assert ax.get_title(loc="left") == name
    assert "leftover" in words(figure)
    one = made["massive"]
    assert same_picture(variance_shares(shuffled(one, "block", "channel")), variance_shares(one))
