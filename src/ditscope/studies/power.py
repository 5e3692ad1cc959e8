"""How many prompts an interval of a wanted width takes, from the spread that a pilot saw."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from ditscope.checks import finite_number
from ditscope.errors import InputError
from ditscope.intervals import LEVEL, check_interval

__all__ = ["prompts_needed", "spread_over_prompts"]

_MOST = 1_000_000


def spread_over_prompts(values: xr.DataArray) -> float:
    """Standard deviation over prompts of a quantity ``[sample]`` with the coordinate ``prompt``, seeds averaged first.

    NaN for fewer than two prompts.
    """
    means = values.groupby("prompt").mean().values
    means = means[~np.isnan(means)]
    return float(means.std(ddof=1)) if len(means) > 1 else math.nan


def prompts_needed(sd: float, half_width: float, *, level: float = LEVEL, together: int = 1) -> int:
    """The least number of prompts with which a Student interval of a mean is at most ``half_width`` to each side.

    >>> from ditscope.studies.power import prompts_needed
    >>> prompts_needed(1.0, 0.5), prompts_needed(1.0, 0.5, together=4)
    (18, 29)

    Args:
        sd: standard deviation of the paired effect over prompts, as of :func:`spread_over_prompts` on pilot data.
        half_width: wanted; as much as the rule's thresholds lie from what the pilot found, or from each other.
        level: of the interval.
        together: how many intervals are to hold together (Bonferroni).

    Raises:
        InputError: no half-width above 0, no standard deviation, or a level that is none.
    """
    check_interval(level, 1)
    if finite_number("half_width", half_width) <= 0 or finite_number("sd", sd) < 0:
        raise InputError(
            f"sd={sd}, half_width={half_width}", "sd of 0 or more, half_width above 0", "Measure again."
        )
    tail = (1 + 1 - (1 - level) / together) / 2

    def too_wide(count: int) -> bool:
        return float(stdtrit(count - 1, tail)) * sd > half_width * math.sqrt(count)

    low, high = 1, 2
    while too_wide(high) and high < _MOST:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if too_wide(middle) else (low, middle)
    return high
