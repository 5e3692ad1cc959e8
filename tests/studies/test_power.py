"""The number of prompts gives the wanted interval, and one less does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ditscope.errors import InputError
from ditscope.studies import prompts_needed, spread_over_prompts


@pytest.mark.parametrize(
    ("sd", "half_width", "level", "together"), [(1, 0.5, 0.95, 1), (3.5, 1, 0.9, 3), (2, 9, 0.95, 1)]
)
def test_it_is_the_least_number_with_that_half_width(sd, half_width, level, together) -> None:
    def half(count: int) -> float:
        return stats.t(count - 1).isf((1 - level) / together / 2) * sd / math.sqrt(count)

    needed = prompts_needed(sd, half_width, level=level, together=together)
    assert half(needed) <= half_width
    assert needed == 2 or half(needed - 1) > half_width


def test_no_spread_takes_two_prompts_and_nonsense_is_refused() -> None:
    assert prompts_needed(0.0, 0.1) == 2
    for sd, half_width in ((1.0, 0.0), (-1.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(InputError):
            prompts_needed(sd, half_width)


def test_the_spread_is_that_of_prompts_and_not_of_seeds() -> None:
    coords = {"prompt": ("sample", ["a", "a", "b", "b"])}
    assert spread_over_prompts(xr.DataArray([0.0, 2.0, 5.0, 5.0], dims="sample", coords=coords)) == np.std(
        [1, 5], ddof=1
    )
    assert math.isnan(
        spread_over_prompts(xr.DataArray([1.0], dims="sample", coords={"prompt": ("sample", ["a"])}))
    )
