from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, drawn, lines_of, mesh_of, same_picture, shuffled, words

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import change_by_step


@pytest.fixture(scope="module")
def changes(recording) -> xr.Dataset:
    few = recording.isel(sample=slice(0, 3))
    later = few.copy(data=recording.values[3:6]).assign_coords(step=[11, 14])
    few = xr.concat([few, later], "step")
    sets = {
        "massive": ds.channels.ChannelSet.of([12, 13, 14, 15]),
        "random": ds.channels.ChannelSet.of([0, 1, 2, 3], control=True),
    }
    return ds.passes.redundancy(few, sets).assign_attrs(model="shapes")


def test_lines_and_map_equal_the_pass(changes) -> None:
    figure = drawn(change_by_step(changes))
    check_readable(figure)
    lines = lines_of(figure.axes[0])
    place = ("sample", "branch")
    whole = changes["relative_change"].mean(place).median("block")
    np.testing.assert_allclose(lines["relative_change"], whole)
    massive = changes.sel(selector="massive").mean("draw")
    without = massive["relative_change_without"].mean(place).median("block")
    np.testing.assert_allclose(lines["relative_change_without"], without)
    share = massive["change_share"].mean(place).transpose("block", "step")
    np.testing.assert_allclose(np.asarray(mesh_of(figure)).reshape(share.shape), share)
    assert "massive" in words(figure)


def test_another_set_and_any_order_of_dims(changes) -> None:
    figure = change_by_step(changes, selector="random")
    assert "random" in words(figure)
    assert "massive" not in words(figure)
    assert same_picture(change_by_step(shuffled(changes, "block")), change_by_step(changes))


def test_something_else_is_refused(changes) -> None:
    with pytest.raises(InputError, match="redundancy"):
        change_by_step(changes.drop_vars("change_share"))
