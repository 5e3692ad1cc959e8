"""The bootstrap that every interval of the project uses: clustered, seeded, vectorised.

Samples that share a prompt are not independent, so whole prompts are drawn with replacement
(the cluster bootstrap, Davison & Hinkley 1997, 3.8), and percentiles of the resampled means are taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ditscope.errors import InputError, found_expected
from ditscope.passes.source import check_count

LEVEL = 0.95
RESAMPLES = 2000
_VALUES = 1 << 22  # resampled means held at a time


class Interval(NamedTuple):
    """A mean with its percentile interval; NaN bounds where there are fewer than two clusters."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def cluster_codes(cluster: Any, count: int) -> np.ndarray:
    """Cluster labels ``[sample]`` as integers from 0; None makes every sample its own."""
    if cluster is None:
        return np.arange(count)
    labels = np.asarray(cluster)
    if labels.shape != (count,):
        raise InputError(
            found_expected(
                f"cluster labels of shape {labels.shape}",
                f"one for each of {count} samples",
                "Pass one label per sample.",
            )
        )
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def cluster_weights(clusters: int, resamples: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn, ``[resample, cluster]``."""
    return np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


def check_interval(level: float, resamples: int) -> None:
    """Refuse a level outside (0, 1) and too few resamples to have tails."""
    if not 0 < level < 1:
        raise InputError(found_expected(f"level={level}", "a number between 0 and 1", "Use 0.95."))
    check_count(resamples, what="resamples")


def bootstrap_mean(
    values: np.ndarray,
    *,
    cluster: Any = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over samples with a cluster-bootstrap percentile interval.

    Args:
        values: ``[..., sample]``; NaN values are left out of their mean. Infinities are kept.
        cluster: a label for each sample; samples of one label are drawn together.
        level: coverage of the interval.
        resamples: number of bootstrap draws.
        seed: of the draws. All leading cells share the draws, so that their differences are paired.
    """
    check_interval(level, resamples)
    values = np.asarray(values, dtype=float)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise InputError(found_expected("no samples", "at least one", "Pass values [..., sample]."))
    lead = values.shape[:-1]
    values = values.reshape(-1, values.shape[-1])
    codes = cluster_codes(cluster, values.shape[-1])
    clusters = int(codes.max()) + 1
    member = np.eye(clusters)[codes]  # [sample, cluster]
    known = ~np.isnan(values)
    finite = np.isfinite(values)
    # An infinity times a weight of zero is NaN, so infinities are counted apart.
    parts = [np.where(finite, values, 0.0), known, values == np.inf, values == -np.inf]
    sums = np.stack([part.astype(float) @ member for part in parts])  # [part, cell, cluster]
    mean = _mean(sums.sum(-1))
    low = high = np.full(len(values), np.nan)
    if clusters > 1:
        weights = cluster_weights(clusters, resamples, seed).astype(float)
        tails = [(1 - level) / 2, (1 + level) / 2]
        step = max(1, _VALUES // resamples)
        pieces = [
            _quantiles(_mean(sums[:, start : start + step] @ weights.T), tails)
            for start in range(0, len(values), step)
        ]
        low, high = np.concatenate(pieces, axis=1)
    return Interval(mean.reshape(lead), low.reshape(lead), high.reshape(lead))


def interval_over(
    values: xr.DataArray,
    *,
    over: str = "sample",
    cluster: Any = "prompt",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> xr.Dataset:
    """:func:`bootstrap_mean` of a labelled array: ``mean, low, high`` without the dimension ``over``.

    Args:
        values: array with dimension ``over``.
        over: the dimension of independent units.
        cluster: name of a coordinate along ``over`` to draw by, or labels; a name that the array does
            not have makes every sample its own cluster.
        level: coverage.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    if over not in values.dims:
        raise InputError(
            found_expected(
                f"dims {', '.join(map(str, values.dims))}", f"a dimension {over!r}", "Pass values per sample."
            )
        )
    labels = cluster
    if isinstance(cluster, str):
        labels = values[cluster].values if cluster in values.coords else None
    moved = values.transpose(..., over)
    found = bootstrap_mean(moved.values, cluster=labels, level=level, resamples=resamples, seed=seed)
    cell = moved.isel({over: 0}, drop=True)
    kept = cell.drop_vars([name for name, c in values.coords.items() if over in c.dims], errors="ignore")
    attrs = {
        "level": level,
        "resamples": resamples,
        "clustered_by": cluster if isinstance(cluster, str) and labels is not None else over,
    }
    return xr.Dataset({name: kept.copy(data=getattr(found, name)) for name in Interval._fields}, attrs=attrs)


def _mean(sums: np.ndarray) -> np.ndarray:
    """``[(sum, count, +inf, -inf), ...]`` -> mean."""
    total, count, above, below = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
    mean = np.where(above > 0, np.inf, mean)
    return np.where(below > 0, np.where(above > 0, np.nan, -np.inf), mean)


def _quantiles(draws: np.ndarray, tails: list[float]) -> np.ndarray:
    """``draws [cell, resample]`` -> ``[tail, cell]``; NaN draws (all-missing resamples) are left out."""
    ordered = np.sort(draws, axis=-1)  # NaN last
    count = (~np.isnan(ordered)).sum(-1)
    # Order statistics rather than interpolation: a difference of infinities is NaN.
    at = [np.clip(np.ceil(tail * count).astype(int) - 1, 0, None) for tail in tails]
    picked = np.stack([np.take_along_axis(ordered, i[:, None], axis=-1)[:, 0] for i in at])
    return np.where(count > 0, picked, np.nan)
