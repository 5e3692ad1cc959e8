from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, drawn, lines_of, same_picture, shuffled, words

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import probe_accuracy


@pytest.fixture(scope="module")
def probed(recording) -> xr.Dataset:
    few = recording.isel(sample=slice(0, 24))
    side = np.arange(24) % 2
    labels = xr.DataArray(
        [np.array(["low", "high"])[side], np.array(["even", "odd"])[np.arange(24) // 4 % 2]],
        dims=("label", "sample"),
        coords={"label": ["side", "number"]},
    )
    sets = {
        "massive": ds.channels.ChannelSet.of([12, 13, 14, 15]),
        "random": ds.channels.ChannelSet.of([0, 1, 2, 3], control=True),
    }
    found = ds.passes.probe(few, labels, sets, cells=3, shuffles=1, resamples=200)
    return found.assign_attrs(model="shapes")


def test_lines_are_the_accuracies(probed) -> None:
    figure = drawn(probe_accuracy(probed))
    check_readable(figure)
    for panel, label in enumerate(["side", "number"]):
        lines = lines_of(figure.axes[panel])
        for selector in ("massive", "random", "all"):
            expected = probed["accuracy"].sel(label=label, selector=selector).squeeze("step")
            assert np.array_equal(lines[selector], expected)
        assert figure.axes[panel].get_title(loc="left") == label.capitalize()
    assert "shuffled labels" in words(figure)


def test_any_order_of_blocks_and_one_step_alone(probed) -> None:
    assert same_picture(probe_accuracy(shuffled(probed, "block")), probe_accuracy(probed))
    with pytest.raises(InputError, match="step"):
        probe_accuracy(xr.concat([probed, probed.assign_coords(step=[4])], "step"))
    with pytest.raises(InputError, match="probe"):
        probe_accuracy(probed.drop_vars("chance"))
