"""Effects with their intervals are those of the result."""

from __future__ import annotations

import numpy as np

import ditscope as ds


def test_effects_are_those_of_the_result(ask, run, sweep) -> None:
    said = ask("scores", 1, cell=1, metric=0, edit=0)
    result = ds.open_sweep(sweep).isel(metric=0, block=1)
    for name in ("mean", "low", "high", "simultaneous_low", "simultaneous_high", "energy_removed"):
        np.testing.assert_array_equal(said.values[name], result[name].values)
    found = run(said, "scores")
    np.testing.assert_array_equal(found["low"], said.values["low"])
    whole = ds.open_sweep(sweep)["mean"].isel(metric=0, edit=0)
    np.testing.assert_array_equal(said.arrays["over_grid"], whole)
