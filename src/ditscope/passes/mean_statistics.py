"""Means of statistics over samples, steps, branches and blocks: chunk by chunk, in float64, by pairwise sums."""

from __future__ import annotations

from collections.abc import Sequence

import dask.array as da
import numpy as np
import xarray as xr

from ditscope.passes.source import limits, own_dtype
from ditscope.passes.token_reduction import REDUCED
from ditscope.vocabulary import STATISTICS

AVERAGED = tuple(name for name in STATISTICS if name != "abs_max")
COUNTS = ("nonfinite", "saturated")
"""Variables that count, and are added up where statistics are averaged."""

_NAMED = (*AVERAGED, "abs_max", *COUNTS)
_PARTS = 2 * len(AVERAGED) + 1 + len(COUNTS)  # sums, how many values are in them, the largest, counts
_PIECE = 1 << 16  # values of a statistic that are worked on at once


def mean_statistics(stats: xr.Dataset, over: Sequence[str]) -> xr.Dataset:
    """The named statistics, averaged over dimensions, lazily.

    Args:
        stats: ``mean, mean_abs, std, abs_max, nonfinite`` ``[..., channel]``, the attribute ``dtype`` where known.
        over: dimensions to average over; none gives the named statistics as they are.

    Returns:
        ``mean_abs, abs_mean, std, energy`` averaged over values that are not NaN, the largest ``abs_max``, and sums of
        ``nonfinite`` and of ``saturated``, which is where ``abs_max`` is at the limit of the dtype.
    """
    first = stats["mean"].transpose(..., "channel")
    dims = [str(dim) for dim in first.dims]
    axes = tuple(dims.index(dim) for dim in over)
    bare = stats[list(REDUCED)].drop_vars(list(stats.coords)).chunk()
    recorded = [bare[name].transpose(*dims).data for name in REDUCED]
    _, recorded = da.core.unify_chunks(*(part for each in recorded for part in (each, range(each.ndim))))
    parts = da.map_blocks(
        _parts,
        *recorded,
        axes=axes,
        limits=limits(own_dtype(stats)),
        chunks=((_PARTS,), *((1,) * len(c) if i in axes else c for i, c in enumerate(recorded[0].chunks))),
        new_axis=0,
        meta=np.empty((0,) * (len(dims) + 1)),
    )
    meta = np.empty((0,) * (parts.ndim - len(axes)))
    below = tuple(axis + 1 for axis in axes)
    rows = da.reduction(parts, _added, _averaged, below, combine=_added, dtype=float, meta=meta)
    kept = first.drop_vars([name for name, c in first.coords.items() if set(c.dims) & set(over)])
    kept = kept.isel(dict.fromkeys(over, 0), drop=True)
    named = {name: xr.Variable(kept.dims, rows[row], kept.attrs) for row, name in enumerate(_NAMED)}
    for name in COUNTS:
        named[name] = named[name].astype(np.int64)
    return xr.Dataset(named, kept.coords)


def _parts(*recorded: np.ndarray, axes: tuple[int, ...], limits: Sequence[float]) -> np.ndarray:
    """What is added up of one block ``[..., channel]``, reduced over ``axes``: ``[part, ..., channel]``."""
    lead = recorded[0].shape[:-1]
    longest = int(np.argmax(lead)) if lead else 0
    if recorded[0].size > _PIECE and max(lead, default=1) > 1:
        halves = zip(*(np.array_split(each, 2, axis=longest) for each in recorded), strict=True)
        both = [_parts(*half, axes=axes, limits=limits) for half in halves]
        joined = np.concatenate(both, axis=longest + 1)
        return _added(joined, axis=(longest + 1,), keepdims=True) if longest in axes else joined
    mean, mean_abs, std, abs_max, nonfinite = (each.astype(np.float64) for each in recorded)
    averaged = np.stack([mean_abs, abs(mean), std, mean**2 + std**2])
    known = ~np.isnan(averaged)
    others = np.stack([abs_max, nonfinite, np.isin(abs_max, limits)])
    parts = np.concatenate([np.where(known, averaged, 0.0), known, others])
    return _added(parts, axis=tuple(axis + 1 for axis in axes), keepdims=True)


def _added(parts: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    if not axis:
        return parts
    largest = 2 * len(AVERAGED)
    added = parts.sum(axis, keepdims=keepdims)
    np.fmax.reduce(
        parts[largest], axis=tuple(each - 1 for each in axis), keepdims=keepdims, out=added[largest]
    )
    return added


def _averaged(parts: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    added, count = _added(parts, axis, keepdims), len(AVERAGED)
    with np.errstate(invalid="ignore"):
        return np.concatenate([added[:count] / added[count : 2 * count], added[2 * count :]])
