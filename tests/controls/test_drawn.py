"""Random controls: frozen ones are the ranking's, live ones each image's own."""

from __future__ import annotations

import numpy as np
import xarray as xr

import ditscope as ds
from ditscope.edits.drawn_channels import RandomChannels

HIDDEN = xr.DataArray(
    np.random.default_rng(0).normal(size=(3, 5, 20)),
    dims=("block", "token", "channel"),
    coords={"block": range(3)},
)
RANKING = ds.passes.rank_channels(HIDDEN)
TOP = RANKING.top(2)


def test_frozen_ones_are_the_rankings() -> None:
    for source in (RANKING, HIDDEN):
        assert ds.controls.random(4, source, draws=3, seed=2) == RANKING.random(4, 3, 2)
        assert ds.controls.energy_matched(TOP, source, draws=3, seed=2) == RANKING.energy_matched(TOP, 3, 2)
        assert ds.controls.magnitude_matched(TOP, source, seed=2) == RANKING.magnitude_matched(TOP, 1, 2)


def test_live_ones_are_drawn_for_each_image() -> None:
    made = ds.controls.random(4, draws=3, seed=2, per="step", stream="text")
    assert made == RandomChannels(k=4, count=3, seed=2, per="step", stream="text")
    assert (made.label, made.control) == ("each image's own random 4", True)
