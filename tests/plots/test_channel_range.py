from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, drawn, lines_of, same_picture, shuffled, words

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import channel_range


@pytest.fixture(scope="module")
def ranges(recording) -> xr.Dataset:
    found = ds.passes.channel_ranges(recording.isel(sample=slice(0, 4))).assign_attrs(model="shapes")
    return found.sel(branch="cond").isel(block=1)


def test_lines_are_the_ranges(ranges) -> None:
    figure = drawn(channel_range(ranges, massive=[12, 15]))
    check_readable(figure)
    lines = lines_of(figure.axes[0])
    for channel in (12, 15):
        assert np.array_equal(lines[str(channel)], ranges["abs_max"].sel(channel=channel))
    others = ranges["abs_max"].drop_sel(channel=[12, 15]).median("channel")
    np.testing.assert_allclose(lines["others"], others)
    assert "99.9th percentile" in words(figure)
    check_readable(channel_range(ranges))


def test_any_order_of_channels(ranges) -> None:
    turned = shuffled(ranges, "channel")
    assert same_picture(channel_range(turned, massive=[12]), channel_range(ranges, massive=[12]))


def test_something_else_is_refused(ranges, recording) -> None:
    with pytest.raises(InputError, match="channel 99"):
        channel_range(ranges, massive=[99])
    with pytest.raises(InputError, match="block"):
        channel_range(ds.passes.channel_ranges(recording.isel(sample=[0])))
