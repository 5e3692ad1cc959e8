from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import correspondence_curve


@pytest.fixture
def found() -> dict[str, xr.Dataset]:
    pairs = ds.shapes.scene_pairs(ds.shapes.prompts(4)).points
    coords = {
        "sample": range(8),
        "y": ("token", np.repeat(range(4), 4)),
        "x": ("token", np.tile(range(4), 4)),
    }
    made = {}
    for name in ("raw", "modulated"):
        values = np.random.default_rng(len(name)).normal(size=(8, 16, 5))
        features = xr.DataArray(values, dims=("sample", "token", "channel"), coords=coords)
        made[name] = ds.passes.correspondence(features, pairs)
    return made


def test_every_feature_has_its_curve_with_intervals(found) -> None:
    found = {
        name: each.assign_coords(features=name) for name, each in found.items()
    }  # as selected from joined ones
    figure = correspondence_curve(found, about={"model": "shapes"})
    check_readable(figure)
    for container, one in zip(figure.axes[0].containers, found.values(), strict=True):
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_ydata(), one["mean"])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends[:, 0], one["low"], atol=1e-12)
        np.testing.assert_allclose(ends[:, 1], one["high"], atol=1e-12)


def test_what_cannot_be_drawn_is_refused(found) -> None:
    for given, words in (
        (found["raw"], "results by name"),
        ({}, "results by name"),
        ({**found, "raw": found["raw"].isel(alpha=[0])}, "the same alphas"),
    ):
        with pytest.raises(InputError, match=words):
            correspondence_curve(given)
