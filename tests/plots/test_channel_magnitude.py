from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, drawn, mesh_of, same_picture, shuffled, words
from figure_data import MASSIVE

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import channel_magnitude


def ratios_of(figure) -> np.ndarray:
    dots = next(line for line in figure.axes[1].lines if line.get_label() == "largest over median")
    return np.asarray(dots.get_xdata(), dtype=float)


def test_by_rank_each_block_is_sorted(scores) -> None:
    mesh = mesh_of(channel_magnitude(scores))
    expected = np.sort(scores.values.astype(float), axis=1)[:, ::-1]
    shown = mesh.filled(np.nan)
    assert np.allclose(shown[:, :100], expected[:, :100])  # the tail may be clipped to the colour scale


def test_by_channel_ids_stay_and_leaders_are_named(scores) -> None:
    figure = drawn(channel_magnitude(scores, by="channel"))
    assert np.allclose(mesh_of(figure)[:, MASSIVE[0]], scores.values[:, MASSIVE[0]])
    top = figure.axes[0].child_axes[0]
    assert [label.get_text() for label in top.get_xticklabels()] == [str(channel) for channel in MASSIVE]


def test_ratio_is_largest_over_median(scores) -> None:
    expected = scores.values.max(axis=1) / np.median(scores.values, axis=1)
    assert np.allclose(ratios_of(channel_magnitude(scores)), expected, rtol=1e-5)


def test_wider_than_the_page_every_peak_is_kept() -> None:
    scores = xr.DataArray(np.full((2, 3072), 0.5), dims=("block", "channel"))
    scores[0, 1446], scores[1, 3071] = 60.0, 50.0
    mesh = mesh_of(channel_magnitude(scores, by="channel"))
    assert mesh.shape[1] < 700
    assert mesh[0].max() == 60.0
    assert mesh[1].max() == 50.0


def test_channels_that_are_not_finite_are_counted_and_in_no_ratio(scores) -> None:
    broken = scores.copy(deep=True)
    broken[0, 9], broken[3] = np.inf, np.nan
    figure = drawn(channel_magnitude(broken))
    assert "129 values that are not finite" in words(figure)
    ratio = ratios_of(figure)
    clean = np.delete(scores.values[0].astype(float), 9)
    assert ratio[0] == pytest.approx(clean.max() / np.median(clean))
    assert np.isnan(ratio[3])
    assert np.isfinite(np.delete(ratio, 3)).all()


def test_boundary_between_kinds_is_ruled_between_the_blocks(scores) -> None:
    ax = channel_magnitude(scores).axes[0]
    rules = [line for line in ax.lines if line.get_gid() == "kind boundary"]
    assert [float(line.get_ydata()[0]) for line in rules] == [3.5]


@pytest.mark.parametrize("by", ["rank", "channel"])
def test_blocks_and_channels_are_drawn_in_order(scores, by: str) -> None:
    turned = shuffled(scores, "block", "channel")
    assert same_picture(channel_magnitude(turned, by=by), channel_magnitude(scores, by=by))


@pytest.mark.parametrize("dims", [("block",), ("sample", "block", "channel"), ("block", "token")])
def test_wrong_dims_are_refused_by_name(dims: tuple[str, ...]) -> None:
    array = xr.DataArray(np.ones((2,) * len(dims)), dims=dims)
    with pytest.raises(
        InputError, match=r"found dims \[.*expected channel scores with dims \[block, channel\]"
    ):
        channel_magnitude(array)


def test_what_rank_channels_returns_is_drawn_whole(recording) -> None:
    ranking = ds.passes.rank_channels(recording, statistic="abs_max")
    figure = channel_magnitude(ranking, by="channel")
    check_readable(figure)
    assert np.allclose(mesh_of(figure)[:, 12:], ranking.scores.values[:, 12:])
    assert "channels scored by abs_max" in words(figure)
