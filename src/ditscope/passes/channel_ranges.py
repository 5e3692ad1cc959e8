"""The range that each channel takes over noise levels: what a static scale would have to hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError
from ditscope.passes.source import Source, hidden_states, warn_left_out
from ditscope.passes.tensors import PLACES, each_tensor, with_places

__all__ = ["channel_ranges"]

_KEPT = (*PLACES[1:], "channel")


def channel_ranges(
    source: Source,
    percentiles: Iterable[float] = (99.0, 99.9),
    *,
    stream: str = "image",
    site: str = "block_output",
) -> xr.Dataset:
    """Range of each channel by step, over all samples.

    Args:
        source: a cache, or hidden states.
        percentiles: of abs(x) over an image's tokens, 0 to 100.
        stream: ``image`` or ``text``.
        site: where in a block.

    Returns:
        Float64 ``[step, branch, block, channel]``: ``abs_max``, the largest abs(x) of any sample, ``least_abs_max``,
        the smallest of the samples' largest, and ``at_percentile`` ``[percentile, ...]``, the mean over samples of
        each one's percentile, linear between values. A coord ``sigma`` stays on ``step``. Over finite values; NaN
        without one.

    Raises:
        InputError: no percentiles, one that is none, or what a source refuses.

    Warns:
        UserWarning: channels have NaN or infinity.

    Examples:
        >>> ranges = ds.passes.channel_ranges(cache.hidden().isel(step=[0, -1]), percentiles=[99.0, 99.9])
        >>> ranges["at_percentile"].dims
        ('percentile', 'step', 'branch', 'block', 'channel')
    """
    levels = np.array([checks.finite_number("percentile", level) for level in checks.several(percentiles)])
    if not len(levels) or (levels < 0).any() or (levels > 100).any():
        raise InputError(f"percentiles={levels.tolist()}", "numbers from 0 to 100", "Pass (99, 99.9), say.")
    hidden = with_places(hidden_states(source, stream, site))
    shape = tuple(hidden.sizes[dim] for dim in _KEPT)
    largest, least = np.full(shape, np.nan), np.full(shape, np.nan)
    total, count, nonfinite = np.zeros((len(levels), *shape)), np.zeros(shape), np.zeros(shape, bool)
    for tensor in each_tensor(hidden, "ranges"):
        at, size = tensor.at[1:], abs(tensor.values.astype(np.float64))
        size[~np.isfinite(size)] = np.nan
        known = ~np.isnan(size).all(0)
        nonfinite[at] |= np.isnan(size).any(0)
        peak = np.fmax.reduce(size, axis=0)
        largest[at], least[at] = np.fmax(largest[at], peak), np.fmin(least[at], peak)
        total[(slice(None), *at, known)] += np.nanpercentile(size[:, known], levels, axis=0)
        count[at] += known
    with np.errstate(invalid="ignore"):
        percentile = total / count
    coords = {name: c for name, c in hidden.coords.items() if set(c.dims) <= set(_KEPT)}
    result = xr.Dataset(
        {
            "abs_max": (_KEPT, largest),
            "least_abs_max": (_KEPT, least),
            "at_percentile": (("percentile", *_KEPT), percentile),
        },
        coords=coords | {"percentile": levels},
        attrs={"stream": stream, "site": site},
    )
    warn_left_out(result["abs_max"].copy(data=nonfinite), "left out where they are not finite")
    return result
