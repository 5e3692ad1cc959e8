"""Strengths that are one number, or follow the noise level."""

from __future__ import annotations

import pytest
import xarray as xr

from ditscope.edits.schedule import strength, strength_at
from ditscope.errors import InputError


def test_a_number_is_the_same_at_every_noise_level() -> None:
    assert strength_at(strength("alpha", 1), 0.3) == 1.0


@pytest.mark.parametrize(
    "given",
    [
        [(1.0, 0.0), (0.2, 0.8), (0.0, 1.0)],
        xr.DataArray([1.0, 0.8, 0.0], dims="sigma", coords={"sigma": [0.0, 0.2, 1.0]}),
    ],
)
def test_a_schedule_is_linear_between_its_levels_and_stays_beyond_them(given) -> None:
    made = strength("alpha", given)
    assert made == ((0.0, 1.0), (0.2, 0.8), (1.0, 0.0))
    assert [strength_at(made, sigma) for sigma in (-1, 0, 0.2, 0.6, 1, 7)] == pytest.approx(
        [1.0, 1.0, 0.8, 0.4, 0.0, 0.0]
    )


@pytest.mark.parametrize(
    "given",
    [None, "1", float("nan"), True, [], [1.0], [(0, 1), (0, 2)], [(0, float("inf"))], xr.DataArray([1.0])],
)
def test_what_is_neither_is_refused(given) -> None:
    with pytest.raises(InputError, match="alpha|sigma"):
        strength("alpha", given)
