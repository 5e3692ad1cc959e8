from __future__ import annotations

import numpy as np
from figure_checks import check_readable, lines_of, same_picture, shuffled, words
from figure_data import make_curves

from ditscope.plots import interpolation_curve
from ditscope.plots._style import CONTROL


def test_lines_are_the_means_in_the_order_of_alpha() -> None:
    curves = make_curves()
    figure = interpolation_curve(curves)
    check_readable(figure)
    for panel, metric in enumerate(curves["metric"].values):
        drawn = lines_of(figure.axes[panel])
        assert set(drawn) == {"massive", "random"}
        for name, heights in drawn.items():
            own = curves["mean"].sel(metric=metric).isel(edit=np.flatnonzero(curves["curve"] == name))
            expected = own.values[np.argsort(own["alpha"].values)]
            assert np.array_equal(heights[1:], expected[1:])
            assert np.isnan(heights[0]) == (metric == "psnr")  # infinite where nothing is changed
    lines = {line.get_gid(): line.get_color() for line in figure.axes[0].lines}
    assert lines["random"] == CONTROL[0]
    assert "Grey lines are controls" in words(figure)


def test_the_order_of_edits_and_dims_is_of_no_matter() -> None:
    curves = make_curves()
    names = interpolation_curve(curves.isel(edit=[2, 0, 1, 5, 4, 3]))
    assert same_picture(names, interpolation_curve(curves))
    assert same_picture(interpolation_curve(curves.transpose(..., "metric")), interpolation_curve(curves))
    assert shuffled(curves, "metric")["mean"].dims != curves["mean"].dims
