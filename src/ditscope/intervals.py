"""The bootstrap that every interval of the project uses: clustered, seeded, vectorised.

Samples that share a prompt are not independent, so whole prompts are drawn with replacement
(the cluster bootstrap, Davison & Hinkley 1997, 3.8), and percentiles of the resampled means are taken.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError

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
            f"cluster labels of shape {labels.shape}",
            f"one for each of {count} samples",
            "Pass one label per sample.",
        )
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def cluster_weights(clusters: int, resamples: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn, ``[resample, cluster]``."""
    return np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


def check_interval(level: float, resamples: int) -> None:
    """Refuse a level outside (0, 1) and too few resamples to have tails."""
    if not 0 < level < 1:
        raise InputError(f"level={level}", "a number between 0 and 1", "Use 0.95.")
    checks.whole_number("resamples", resamples)


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
        raise InputError("no samples", "at least one", "Pass values [..., sample].")
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
            f"dims {', '.join(map(str, values.dims))}", f"a dimension {over!r}", "Pass values per sample."
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


def paired_bootstrap(
    delta: Any,
    *,
    cluster: Any = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of paired differences, with a percentile interval of the cluster bootstrap.

    Args:
        delta: ``[..., sample]``, edited minus baseline; NaN values are left out.
        cluster: a label for each sample, usually its prompt; None for independent samples.
        level: coverage.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        ``(mean, low, high)``, each ``[...]``. With fewer than two clusters the bounds are NaN; with
        fewer than about twenty the interval is known to be too narrow.
    """
    return bootstrap_mean(np.asarray(delta), cluster=cluster, level=level, resamples=resamples, seed=seed)


def paired_interval(
    delta: xr.DataArray,
    *,
    over: str = "sample",
    cluster: Any = "prompt",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> xr.Dataset:
    """:func:`paired_bootstrap` of a labelled array.

    Args:
        delta: array with dimension ``over``. A ``draw`` dimension should be averaged first where the
            interval is to be that of the mean over draws.
        over: the paired dimension.
        cluster: name of a coordinate along ``over``, or labels, or None. A named coordinate that the
            array does not have leaves samples independent; the result's ``clustered_by`` says so.
        level: coverage.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        ``mean``, ``low``, ``high`` on the other dimensions.
    """
    return interval_over(delta, over=over, cluster=cluster, level=level, resamples=resamples, seed=seed)


def paired_difference(
    condition: xr.DataArray,
    other: xr.DataArray,
    *,
    over: str = "sample",
    cluster: Any = "prompt",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> xr.Dataset:
    """``condition - other``, paired by the labels of ``over``, with an interval.

    Raises:
        InputError: if the two do not hold the same samples.
    """
    for values in (condition, other):
        if over not in values.dims:
            raise InputError(
                f"dims {', '.join(map(str, values.dims))}",
                f"a dimension {over!r}",
                "Pass values per sample.",
            )
    labels, others = condition[over].values, other[over].values
    if len(labels) != len(others) or set(labels.tolist()) != set(others.tolist()):
        raise InputError(
            f"{len(labels)} and {len(others)} samples, not the same ones",
            f"equal labels along {over!r}",
            "Run both conditions on the same prompts and seeds.",
        )
    difference = condition - (other.sel({over: labels}) if over in other.coords else other)
    return interval_over(difference, over=over, cluster=cluster, level=level, resamples=resamples, seed=seed)


def wilson_interval(successes: Any, trials: Any, *, level: float = LEVEL) -> Interval:
    """A proportion with Wilson's score interval (Wilson 1927), which holds near 0 and 1.

    Args:
        successes: how many, ``[...]``.
        trials: of how many, at least 1, broadcast against ``successes``.
        level: coverage.
    """
    check_interval(level, 1)
    hits, total = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    if not ((total >= 1) & (hits >= 0) & (hits <= total)).all():
        raise InputError(
            f"{successes} successes of {trials}", "0 <= successes <= trials, trials >= 1", "Count again."
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return Interval(share, np.clip(centre - half, 0, share), np.clip(centre + half, share, 1))


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
