"""How many prompts it takes to find an effect, from the spread that a pilot saw, and which effect so many find."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import nctdtr, stdtrit

from ditscope.checks import finite_number, whole_number
from ditscope.errors import InputError
from ditscope.intervals import LEVEL, Interval, check_interval

if TYPE_CHECKING:
    from ditscope.studies.rule import Rule

__all__ = ["effect_found", "power_of", "prompts_needed", "spread_over_prompts"]

POWER = 0.8
"""In which share of studies an effect of interest is to be found."""

_MOST = 1_000_000


def spread_over_prompts(values: xr.DataArray) -> float:
    """Standard deviation over prompts of a quantity ``[sample]`` with the coordinate ``prompt``, seeds averaged first.

    NaN for fewer than two prompts.
    """
    means = values.groupby("prompt").mean().values
    means = means[~np.isnan(means)]
    return float(means.std(ddof=1)) if len(means) > 1 else math.nan


def power_of(prompts: int, effect: float, sd: float, *, level: float = LEVEL, together: int = 1) -> float:
    """In which share of studies a Student interval of a mean lies beyond a threshold that the truth lies beyond.

    The mean over the interval's half-width has a noncentral t distribution, for normal effects.

    Args:
        prompts: how many, 2 or more.
        effect: how far beyond the threshold the truth lies, above 0.
        sd: standard deviation of the paired effect over prompts, as of :func:`spread_over_prompts` on pilot data.
        level: of the interval.
        together: how many intervals hold together (Bonferroni).

    Raises:
        InputError: no effect above 0, no standard deviation, fewer than two prompts, or a level that is none.
    """
    check_interval(level, 1)
    whole_number("prompts", prompts, 2)
    if finite_number("effect", effect) <= 0 or finite_number("sd", sd) < 0:
        raise InputError(f"sd={sd}, effect={effect}", "sd of 0 or more, effect above 0", "Measure again.")
    if sd == 0:
        return 1.0
    limit = stdtrit(prompts - 1, 1 - (1 - level) / together / 2)
    # From ten limits on the power is 1 within 1e-20, and soon nctdtr has no value.
    shift = min(effect * math.sqrt(prompts) / sd, 10 * limit)
    return 1 - float(nctdtr(prompts - 1, shift, limit))


def prompts_needed(
    sd: float, effect: float, *, power: float = POWER, level: float = LEVEL, together: int = 1
) -> int:
    """The least number of prompts with which an effect is found in a share ``power`` of studies.

    >>> from ditscope.studies.power import prompts_needed
    >>> prompts_needed(1.0, 0.5), prompts_needed(1.0, 0.5, together=4)
    (34, 48)

    Args:
        sd: as of :func:`power_of`.
        effect: the smallest of interest, beyond a threshold of the rule.
        power: share of studies whose whole interval is to lie beyond the threshold.
        level: of the interval.
        together: how many intervals are to hold together (Bonferroni).

    Raises:
        InputError: as of :func:`power_of`, or a power that is no share.
    """
    _check_power(power)

    def found(count: int) -> bool:
        return power_of(count, effect, sd, level=level, together=together) >= power

    low, high = 1, 2
    while not found(high) and high < _MOST:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def effect_found(
    sd: float, prompts: int, *, power: float = POWER, level: float = LEVEL, together: int = 1
) -> float:
    """The smallest effect that a number of prompts finds in a share ``power`` of studies; 0 where nothing spreads.

    Arguments and errors as of :func:`prompts_needed`.
    """
    _check_power(power)
    if sd == 0:
        return 0.0
    low, high = 0.0, 1000 * sd
    for _ in range(60):
        middle = (low + high) / 2
        enough = power_of(prompts, middle, sd, level=level, together=together) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def _check_power(power: float) -> None:
    if not 0 < finite_number("power", power) < 1:
        raise InputError(f"power={power}", "a share between 0 and 1", "Pass 0.8, say.")


def pilot_power(rule: Rule, pilot: Mapping[str, xr.DataArray | Interval]) -> list[dict[str, Any]]:
    """Of each quantity with a smallest effect of interest, how many prompts it takes by the pilot's spread."""
    rows = []
    for quantity in rule.quantities:
        name, effect = quantity.name, quantity.smallest_effect
        if effect is None:
            continue
        values = pilot[name]
        sd = math.nan if isinstance(values, Interval) else spread_over_prompts(values)
        known = math.isfinite(sd)
        rows.append(
            {
                "quantity": name,
                "sd": sd if known else None,
                "smallest_effect": effect,
                "prompts_needed": prompts_needed(sd, effect, **_intervals(rule)) if known else None,
            }
        )
    return rows


def with_effects_found(rule: Rule, power: list[dict[str, Any]], prompts: int) -> list[dict[str, Any]]:
    """The same with the smallest effect that so many prompts find, by the pilot's spread."""
    return [
        row | {"effect_found": row["sd"] and effect_found(row["sd"], prompts, **_intervals(rule))}
        for row in power
    ]


def _intervals(rule: Rule) -> dict[str, Any]:
    return {"level": rule.level, "together": len(rule.quantities)}
