"""What is drawn of a ranking: its scores, checked, with their channels' ids and a colour scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm

from ditscope.errors import InputError
from ditscope.plots._labels import require_dims, values


def as_scores(source: Any) -> xr.DataArray:
    """The scores of a Ranking, or the array itself, checked, with blocks and channels in order."""
    ranked = not isinstance(source, xr.DataArray) and hasattr(source, "scores")
    array = require_dims(source.scores if ranked else source, ("block", "channel"), "channel scores")
    if ranked:
        array = array.assign_attrs(stream=source.stream, site=source.site, statistic=source.statistic)
    if bool((values(array) < 0).any()):
        raise InputError("negative scores", "magnitudes, 0 or larger", "Take the absolute value first.")
    return array


def channel_ids(scores: xr.DataArray) -> list[Any]:
    """The true ids of the channels, or their positions where they have no coord."""
    return (
        scores["channel"].values.tolist()
        if "channel" in scores.coords
        else list(range(scores.sizes["channel"]))
    )


def log_norm(drawn: np.ndarray) -> LogNorm:
    """A log colour scale over the positive values, without the few that are next to nothing."""
    positive = drawn[np.isfinite(drawn) & (drawn > 0)]
    if not positive.size:
        return LogNorm(1e-3, 1.0)
    high = float(positive.max())
    low = max(float(np.quantile(positive, 0.005)), high * 1e-5)
    return LogNorm(low, high if high > low else low * 10)


def over_median(magnitude: np.ndarray) -> np.ndarray:
    """Every channel over its block's median, `[block, channel]`; NaN where that is not a number."""
    finite = np.isfinite(magnitude)
    ratio = np.full(magnitude.shape, np.nan)
    for block in np.flatnonzero(finite.any(axis=1)):
        median = np.median(magnitude[block, finite[block]])
        if median > 0:
            ratio[block, finite[block]] = magnitude[block, finite[block]] / median
    return ratio
