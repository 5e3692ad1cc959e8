from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, drawn, lines_of, same_picture, shuffled, words
from figure_data import make_needed

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import stability_curve


def upright(ax) -> list[float]:
    """Where vertical lines stand."""
    return [
        line.get_xdata()[0]
        for line in ax.lines
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]
    ]


def test_the_stop_and_the_threshold_of_the_recorded_order_are_ruled() -> None:
    needed = make_needed()
    ax = stability_curve(needed).axes[0]
    assert upright(ax) == [72]
    assert any(np.allclose(line.get_ydata(), 0.9) for line in ax.lines)
    assert np.array_equal(lines_of(ax)["double.1"], needed.jaccard.values[0, 0, 1])
    never = stability_curve(needed.assign(needed=("order", [np.nan])))
    assert "rule stops:" not in words(never)


def test_other_orders_are_thin_lines_and_a_note() -> None:
    figure = stability_curve(make_needed(orders=4))
    assert sorted(x for x in upright(figure.axes[0]) if np.isfinite(x)) == [64, 72, 96]
    assert "In 3 other orders" in words(figure)
    assert "stops at 64 to 96 samples, in 1 of them never" in words(figure).replace("\n", " ")


def test_a_fall_after_the_stop_is_said() -> None:
    needed = make_needed().assign(needed=("order", [24.0])).assign_attrs(tau=0.9, patience=4)
    low = needed["jaccard"].isel(order=0, stream=0).min("block")
    later = low.where((low < 0.9) & (low["samples"] > 24), drop=True)
    said = words(stability_curve(needed)).replace("\n", " ")
    assert "The rule stops where each block's mean of the last 4 is 0.9." in said
    assert f"after 24 samples single blocks still fall to {float(later.min()):.2f}" in said
    assert f"the last time at {later['samples'].max().item():g} samples" in said
    settled = words(stability_curve(needed.assign(jaccard=needed["jaccard"] * 0 + 1))).replace("\n", " ")
    assert "no block falls below it after that" in settled
    assert "still fall" not in settled
    never = words(stability_curve(needed.assign(needed=("order", [np.nan])))).replace("\n", " ")
    assert f"is 0.9: in {needed['samples'].max().item():g} samples it does not." in never


def test_what_another_pass_returns_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="Pass the whole of what samples_needed returns"):
        stability_curve(xr.Dataset({"agreement": ("across", [1.0])}))


def test_every_stream_has_its_panel() -> None:
    needed = make_needed(streams=2)
    figure = drawn(stability_curve(needed))
    check_readable(figure)
    for ax, stream in zip(figure.axes, ("image", "text"), strict=True):
        assert ax.get_title(loc="left") == f"{stream.capitalize()} stream"
        assert np.array_equal(lines_of(ax)["single.5"], needed.jaccard.sel(order=0, stream=stream)[-1])
    lowest = min(line.min() for ax in figure.axes for line in lines_of(ax).values())
    assert all(ax.get_ylim()[0] < lowest for ax in figure.axes)


@pytest.mark.parametrize("dims", [("samples",), ("block",), ("samples", "block", "order")])
def test_samples_and_blocks_are_drawn_in_order(dims) -> None:
    needed = make_needed(orders=3)
    assert same_picture(stability_curve(shuffled(needed, *dims)), stability_curve(needed))


def test_what_samples_needed_returns_is_drawn_whole_or_selected(recording) -> None:
    needed = ds.passes.samples_needed(recording, k=4, window=1, patience=2, orders=3, tau=0.5)
    figure = stability_curve(needed)
    check_readable(figure)
    assert "k = 4" in words(figure)
    assert "image stream" in words(figure)
    assert float(needed.needed[0]) in upright(figure.axes[0])
    one = stability_curve(needed.isel(order=1, stream=0))
    assert np.array_equal(lines_of(one.axes[0])["single.0"], needed.jaccard[1, 0, 2])
    assert upright(one.axes[0]) == [float(needed.needed[1])]
