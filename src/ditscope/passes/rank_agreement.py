"""Whether one measurement puts places in the order in which another one does."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from ditscope.errors import InputError
from ditscope.intervals import LEVEL, interval_over

__all__ = ["rank_agreement"]

_LARGEST = 1 - 1e-6


def rank_agreement(
    predicted: xr.DataArray,
    measured: xr.DataArray,
    *,
    over: Sequence[Hashable] = ("block", "channel"),
    level: float = LEVEL,
    resamples: int = 2000,
) -> xr.Dataset:
    """Spearman's rank correlation of predicted and measured effects, with an interval over prompts.

    Args:
        predicted: such as ``effect`` of :func:`ditscope.attribution`, with a ``sample`` dim.
        measured: such as ``effect`` of :func:`ditscope.patch_effect`; the labels that both have are compared.
        over: the dims whose places are ranked; of the others, ``sample`` apart, each entry has a correlation.
        level: coverage of the interval.
        resamples: bootstrap draws of the interval.

    Returns:
        ``spearman`` ``[..., sample]``, NaN where fewer than three places are known or all are equal; ``mean``, ``low``
        and ``high`` ``[...]`` of it over samples, by prompts where they are labelled, by way of Fisher's
        ``arctanh``, so that no interval reaches beyond 1; ``places``, their number ``[..., sample]``.

    Raises:
        InputError: a dim is missing, or the two have no label in common.

    Examples:
        >>> def brightness(output, latents, visit):
        ...     return (latents - visit.sigma * output).mean(dim=(1, 2))
        >>> edit, channels = ds.edits.zero(None, blocks="single.5", steps=[1]), [0, 1, 2, 3]
        >>> predicted = ds.attribution(dit, prompts[:2], 0, brightness, edit, num_inference_steps=2)
        >>> measured = ds.patch_effect(dit, prompts[:2], 0, brightness, edit, channels, num_inference_steps=2)
        >>> agreement = ds.passes.rank_agreement(predicted["effect"], measured["effect"], resamples=200)
    """
    for array in (predicted, measured):
        missing = [dim for dim in ("sample", *over) if dim not in array.dims]
        if missing:
            raise InputError(
                f"an effect without {', '.join(map(str, missing))}",
                "one for each",
                "Pass it as it was returned.",
            )
    first, second = xr.align(predicted, measured, join="inner")
    if not first.size or set(first.dims) != set(second.dims):
        raise InputError(
            f"effects {dict(predicted.sizes)} and {dict(measured.sizes)} with no place in common",
            "effects at the same samples, steps, branches, blocks and channels",
            "Make both with one edit and one call.",
        )
    kept = [dim for dim in first.dims if dim not in over and dim != "sample"]
    pairs = [array.transpose(*kept, "sample", *over) for array in (first, second)]
    flat = [array.values.reshape(*array.shape[: len(kept) + 1], -1).astype(np.float64) for array in pairs]
    each = pairs[0].isel(dict.fromkeys(over, 0), drop=True)
    known = np.isfinite(flat[0]) & np.isfinite(flat[1])
    found = np.full(each.shape, np.nan)
    for at in np.ndindex(each.shape):
        found[at] = _spearman(flat[0][at][known[at]], flat[1][at][known[at]])
    spearman = each.copy(data=found)
    # A correlation of 1 has no finite arctanh.
    transformed = spearman.copy(data=np.arctanh(np.clip(found, -_LARGEST, _LARGEST)))
    result = interval_over(transformed, level=level, resamples=resamples).map(np.tanh, keep_attrs=True)
    return result.assign(spearman=spearman, places=each.copy(data=known.sum(axis=-1)))


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
