from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, lines_of, same_picture, shuffled
from figure_data import block_coords

from ditscope.errors import InputError
from ditscope.plots import growth_by_block


@pytest.fixture
def growth() -> xr.Dataset:
    return make_growth()


def make_growth() -> xr.Dataset:
    """Double blocks in parts, single ones whole."""
    random = np.random.default_rng(0)
    parts = ["attn", "mlp", "other", "whole"]
    dims = ("block", "part", "channel")
    values = {n: random.normal(1, 1, (10, 4, 8)) for n in ("energy_added", "gate_excess", "output_excess")}
    for array in values.values():
        array[:4, 3] = np.nan
        array[4:, :3] = np.nan
    return xr.Dataset(
        {n: (dims, array) for n, array in values.items()}
        | {"energy_growth": (("block", "channel"), np.nansum(values["energy_added"], axis=1))},
        coords=block_coords({"part": parts, "channel": np.arange(8)}),
        attrs={"stream": "image"},
    )


def test_parts_growth_and_excess_are_drawn(growth) -> None:
    figure = growth_by_block(growth, [2, 5], about={"model": "shapes"})
    check_readable(figure)
    upper, lower = figure.axes
    bars = {container[0].get_gid() or container.get_label(): container for container in upper.containers}
    heights = [[bar.get_height() for bar in bars] for bars in upper.containers]
    expected = growth["energy_added"].sel(channel=[2, 5]).sum("channel", min_count=1)
    np.testing.assert_allclose(heights, expected.transpose("part", "block"))
    assert len(bars) <= 4
    chosen = growth.sel(channel=[2, 5])
    assert np.allclose(lines_of(upper)["growth"], chosen["energy_growth"].sum("channel"))
    lines = lines_of(lower)
    np.testing.assert_allclose(lines["mlp gate"], chosen["gate_excess"].sel(part="mlp").mean("channel"))
    np.testing.assert_allclose(
        lines["whole output"], chosen["output_excess"].sel(part="whole").mean("channel")
    )


def test_it_does_not_depend_on_the_order(growth) -> None:
    assert same_picture(
        growth_by_block(shuffled(growth, "block", "channel"), [2]), growth_by_block(growth, [2])
    )


def test_what_cannot_be_drawn_is_refused(growth) -> None:
    for given, channels, words in (
        (growth, [9], r"channels \[9\]"),
        (growth, [], "channels none"),
        (growth.expand_dims("sample"), [1], "Average over the other dims"),
    ):
        with pytest.raises(InputError, match=words):
            growth_by_block(given, channels)
