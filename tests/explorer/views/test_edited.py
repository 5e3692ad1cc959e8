"""Images without and with an edit are the stored ones."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import InputError


def test_images_and_scores_are_those_of_the_run(ask, run, sweep) -> None:
    said = ask("edited", 1, cell=1, edit=1, draw=0, sample=2)
    result = ds.open_sweep(sweep)
    place = {"block": 1, "edit": 1, "draw": 0, "sample": 2}
    assert said.arrays["edited"].tobytes() == result["images"].isel(place).values.tobytes()
    assert said.arrays["baseline"].tobytes() == result["baseline_images"].isel(sample=2).values.tobytes()
    assert said.values["effect"] == result["effect"].isel(place).values.tolist()
    assert (said.values["ran"], said.values["prompt"], said.values["seed"]) == (True, "y", "1")
    shown = abs(said.arrays["edited"].astype(float) - said.arrays["baseline"]).mean(-1)
    np.testing.assert_allclose(run(said, "difference"), shown)


def test_a_run_that_is_missing_says_so(ask) -> None:
    assert not ask("edited", 1, cell=1, edit=1, draw=1, sample=0).values["ran"]
    assert ask("edited", 1, cell=0, edit=1, draw=1, sample=0).values["ran"]


def test_what_is_not_there_is_refused(ask) -> None:
    with pytest.raises(InputError, match="edit 2"):
        ask("edited", 1, cell=1, edit=2, draw=0, sample=0)
