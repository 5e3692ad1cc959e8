"""The number of prompts finds the effect as often as was asked, one less does not, and simulated studies agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ditscope.errors import InputError
from ditscope.studies import Quantity, Rule, effect_found, power_of, prompts_needed, spread_over_prompts
from ditscope.studies.power import pilot_power, with_effects_found

CASES = [(1.0, 0.5, 0.95, 1), (3.5, 2.0, 0.9, 3), (2.0, 9.0, 0.95, 1), (0.5, 0.2, 0.95, 4)]


@pytest.mark.parametrize(("sd", "effect", "level", "together"), CASES)
def test_the_power_is_that_of_the_noncentral_t(sd, effect, level, together) -> None:
    for prompts in (2, 7, 40):
        limit = stats.t(prompts - 1).isf((1 - level) / together / 2)
        closed = stats.nct(prompts - 1, effect * math.sqrt(prompts) / sd).sf(limit)
        found = power_of(prompts, effect, sd, level=level, together=together)
        assert found == pytest.approx(closed, abs=1e-9)


def test_simulated_studies_find_the_effect_as_often() -> None:
    prompts, effect, sd, threshold = 12, 1.5, 2.0, 3.0
    values = np.random.default_rng(0).normal(threshold + effect, sd, (40_000, prompts))
    half = stats.t(prompts - 1).isf(0.05 / 2 / 2) * values.std(1, ddof=1) / math.sqrt(prompts)
    beyond = (values.mean(1) - half > threshold).mean()
    assert power_of(prompts, effect, sd, together=2) == pytest.approx(beyond, abs=0.01)


@pytest.mark.parametrize(("sd", "effect", "level", "together"), CASES)
def test_it_is_the_least_number_with_that_power(sd, effect, level, together) -> None:
    shared = {"level": level, "together": together}
    needed = prompts_needed(sd, effect, power=0.9, **shared)
    assert power_of(needed, effect, sd, **shared) >= 0.9
    assert needed == 2 or power_of(needed - 1, effect, sd, **shared) < 0.9
    found = effect_found(sd, 25, **shared)
    assert power_of(25, found, sd, **shared) == pytest.approx(0.8, abs=1e-6)


def test_no_spread_takes_two_prompts_and_nonsense_is_refused() -> None:
    assert prompts_needed(0.0, 0.1) == 2
    assert effect_found(0.0, 5) == 0.0
    for sd, effect, power in ((1.0, 0.0, 0.8), (-1.0, 1.0, 0.8), (math.nan, 1.0, 0.8), (1.0, 1.0, 1.0)):
        with pytest.raises(InputError):
            prompts_needed(sd, effect, power=power)
    with pytest.raises(InputError, match="prompts=1"):
        power_of(1, 1.0, 1.0)


def test_the_spread_is_that_of_prompts_and_not_of_seeds() -> None:
    coords = {"prompt": ("sample", ["a", "a", "b", "b"])}
    assert spread_over_prompts(xr.DataArray([0.0, 2.0, 5.0, 5.0], dims="sample", coords=coords)) == np.std(
        [1, 5], ddof=1
    )
    assert math.isnan(
        spread_over_prompts(xr.DataArray([1.0], dims="sample", coords={"prompt": ("sample", ["a"])}))
    )


def test_the_spread_of_the_pilot_moves_the_number_of_prompts() -> None:
    rule = Rule((Quantity.below("gap", "PSNR, massive less bottom", 0.0, unit="dB", smallest_effect=4.0),))

    def needed(*values):
        coords = {"prompt": ("sample", [str(each) for each in range(len(values))])}
        (row,) = pilot_power(rule, {"gap": xr.DataArray(list(values), dims="sample", coords=coords)})
        return row["prompts_needed"]

    assert needed(0.0, 1.0, 2.0) < needed(0.0, 10.0, 20.0)
    assert needed(0.0, 10.0, 20.0) == prompts_needed(10.0, 4.0)
    row = {"quantity": "gap", "sd": 10.0, "smallest_effect": 4.0, "prompts_needed": 52}
    assert with_effects_found(rule, [row], 2) == [row | {"effect_found": effect_found(10.0, 2)}]
