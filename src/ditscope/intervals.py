"""The bootstrap that every interval of the project uses: clustered, seeded, vectorised.

Samples that share a prompt are not independent, so whole prompts are drawn with replacement (the cluster bootstrap,
Davison & Hinkley 1997, 3.8). Studies have few prompts, where percentiles of the resampled means are too narrow: what
is resampled is the mean in units of its own standard error (the bootstrap-t, 5.2 there).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from ditscope import checks
from ditscope.errors import InputError

LEVEL = 0.95
RESAMPLES = 2000
SET_RESAMPLES = 200
_VALUES = 1 << 20  # resampled means in memory at a time


class Interval(NamedTuple):
    """A mean with its interval; NaN bounds where there are fewer than two clusters."""

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
    limits: tuple[float, float] | None = None,
    together: bool = False,
) -> Interval:
    """Mean over samples with a bootstrap-t interval over clusters (Davison & Hinkley 1997, 5.2), made safe for few.

    The standard error leaves each cluster out in turn (the jackknife), which serves clusters of unequal size. A
    resample that draws almost the same values has almost no error of its own, which sends the bounds far out; so it
    counts as at least a third of the study's. And a bound is never nearer to the mean than Student's t on the
    clusters would set it, which is all that two or three clusters can say.

    Measured coverage of the 95 % interval in per cent, by the number of clusters, for clusters of one sample, of four
    that share half of their variance, and of unequal size (1, 1, 2, 3 and 8, in turn); 4,000 studies each. Beside it,
    with 12 clusters, what others cover (``benchmarks/coverage_of_intervals.py``): percentiles of the means (Efron &
    Tibshirani 1993, 13.3), BCa (Efron 1987) and Student's t. None falls less short at any number of clusters, so this
    one is used at all of them:

    ====================  ====  ====  ====  ====  ===========  ====  =========
    effects                  8    12    20    50  percentiles   BCa  Student's
    ====================  ====  ====  ====  ====  ===========  ====  =========
    normal                96.1  96.0  96.0  94.8         91.3  90.8       95.2
    normal, four          95.9  96.5  96.0  95.1         90.5  90.7       95.3
    normal, unequal       93.9  94.9  94.9  94.8
    exponential           93.3  94.5  95.5  96.0         86.9  88.6       90.1
    exponential, four     94.0  94.7  95.6  95.4         87.8  89.1       91.0
    exponential, unequal  92.4  93.8  94.2  95.0
    lognormal             89.5  90.6  92.6  94.7         81.1  83.6       84.1
    lognormal, four       91.8  92.4  93.8  94.8         83.5  85.6       86.7
    lognormal, unequal    89.8  91.3  92.3  93.9
    ====================  ====  ====  ====  ====  ===========  ====  =========

    **Right or wrong.** If an edit spoils one answer in ten, the answers of few prompts are often all the same, and then
    no method that resamples sees that they could be others: with 12 clusters of one sample 72 % of the intervals cover,
    or fewer, by any of them. So ``limits`` adds two clusters, one at each limit, and takes Student's t (for pairs
    Bonett & Price 2012, after Agresti & Min 2005): it covers in 100, 100 and 97 % of studies of 12, 20 and 50 clusters,
    and in 98, 98 and 96 % where four in ten are spoiled. With few clusters it is wider than it would have to be.

    **Several at once.** With ``together`` all intervals along the last leading dim hold together: in how narrow a tail
    the worst of their ratios lies is looked up in every resample, and its quantile gives the one level at which each is
    made (Beran 1988's balanced sets, a max-t that keeps skewness). It is never stricter than Bonferroni's level, which
    stands in for it with ``limits`` and where values are infinite. Of four edits that share a third of their variance
    all intervals cover in 96, 96 and 96 % of studies of 12, 20 and 50 clusters where effects are normal (in 86, 85 and
    84 % if each is made by itself), in 91, 94 and 95 % where they are exponential, in 82, 86 and 91 % where lognormal.

    Args:
        values: ``[..., sample]``; NaN values are left out of their mean. Where values are infinite there is no
            standard error, and the bounds are percentiles of the resampled means, infinities among them.
        cluster: a label for each sample; samples of one label are drawn together. None for independent samples.
        level: coverage of the interval.
        resamples: number of bootstrap draws.
        seed: of the draws. All leading dims share the draws, so that their differences are paired.
        limits: smallest and largest value that there can be, for values that lie at these, or between them as means or
            differences of such: (0, 1) for right and wrong, (-1, 1) for a change of it. None for numbers of any kind.
        together: whether the intervals along the last leading dim are to hold together.

    Returns:
        ``(mean, low, high)``, each ``[...]``; the bounds are NaN where fewer than two clusters have a value.

    Raises:
        InputError: no samples, labels of another number, or a level or number of resamples that cannot be used.
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
    finite = np.isfinite(values)
    # An infinity times a weight of zero is NaN, so infinities are counted apart.
    parts = [np.where(finite, values, 0.0), ~np.isnan(values), values == np.inf, values == -np.inf]
    sums = np.stack([part.astype(float) @ member for part in parts])  # [part, row, cluster]
    weights = cluster_weights(clusters, resamples, seed).astype(float)
    step = lead[-1] if together else max(1, _VALUES // resamples)
    pieces = [
        _bounds_of_counts(sums[:2, at : at + step], limits, level, together)
        if limits
        else _bounds(sums[:, at : at + step], weights, level, together)
        for at in range(0, len(values), step)
    ]
    low, high = np.concatenate(pieces, axis=1)
    return Interval(_mean(sums.sum(-1)).reshape(lead), low.reshape(lead), high.reshape(lead))


def interval_over(
    values: xr.DataArray,
    *,
    over: str = "sample",
    cluster: Any = "prompt",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    limits: tuple[float, float] | None = None,
    together: str | None = None,
) -> xr.Dataset:
    """:func:`bootstrap_mean` of a labelled array, whose docstring says how well the interval covers.

    Args:
        values: array with dimension ``over``. A ``draw`` dimension should be averaged first where the interval is to
            be that of the mean over draws.
        over: the dimension of samples.
        cluster: name of a coordinate along ``over`` to draw by, or labels, or None. A name that the array does not
            have leaves the samples independent; the result's ``clustered_by`` says so.
        level: coverage.
        resamples: bootstrap draws.
        seed: of the draws.
        limits: as of :func:`bootstrap_mean`.
        together: the dimension along which intervals are to hold together; None for each by itself.

    Returns:
        ``mean``, ``low``, ``high`` on the other dimensions.

    Raises:
        InputError: the array has no dimension ``over``, or none that is called ``together``.
    """
    for dim in (over, together or over):
        _require_dim(values, dim)
    labels = cluster
    if isinstance(cluster, str):
        labels = values[cluster].values if cluster in values.coords else None
    moved = values.transpose(..., *([together] if together else []), over)
    interval = bootstrap_mean(
        moved.values,
        cluster=labels,
        level=level,
        resamples=resamples,
        seed=seed,
        limits=limits,
        together=together is not None,
    )
    along = [name for name, coord in values.coords.items() if over in coord.dims]
    kept = moved.isel({over: 0}, drop=True).drop_vars(along, errors="ignore")
    attrs = {
        "level": level,
        "resamples": resamples,
        "clustered_by": cluster if isinstance(cluster, str) and labels is not None else over,
    }
    found = xr.Dataset(
        {name: kept.copy(data=getattr(interval, name)) for name in Interval._fields}, attrs=attrs
    )
    return found.transpose(*(dim for dim in values.dims if dim != over))


def paired_difference(
    condition: xr.DataArray,
    other: xr.DataArray,
    *,
    over: str = "sample",
    cluster: Any = "prompt",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    limits: tuple[float, float] | None = None,
    together: str | None = None,
) -> xr.Dataset:
    """``condition - other``, paired by the labels of ``over``, with an interval as by :func:`interval_over`.

    Args:
        condition: array with dimension ``over``.
        other: what it is compared with: equal labels along ``over``, in any order.
        over: the dimension of samples.
        cluster: as of :func:`interval_over`.
        level: coverage.
        resamples: bootstrap draws.
        seed: of the draws.
        limits: of the differences, as of :func:`bootstrap_mean`.
        together: as of :func:`interval_over`.

    Returns:
        ``mean``, ``low``, ``high`` of the differences, on the other dimensions.

    Raises:
        InputError: the two have not the same samples.
    """
    for values in (condition, other):
        _require_dim(values, over)
    labels, others = condition[over].values, other[over].values
    if len(labels) != len(others) or set(labels.tolist()) != set(others.tolist()):
        raise InputError(
            f"{len(labels)} and {len(others)} samples, not the same ones",
            f"equal labels along {over!r}",
            "Run both conditions on the same prompts and seeds.",
        )
    difference = condition - (other.sel({over: labels}) if over in other.coords else other)
    return interval_over(
        difference,
        over=over,
        cluster=cluster,
        level=level,
        resamples=resamples,
        seed=seed,
        limits=limits,
        together=together,
    )


def bootstrap_error(
    statistic: Callable[[np.ndarray], np.ndarray],
    count: int,
    *,
    cluster: Any = None,
    resamples: int = SET_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Standard error of a number of a whole set, from sets in which whole clusters are drawn with replacement.

    Args:
        statistic: function of positions of samples ``[sample]`` that gives ``[...]``.
        count: number of samples.
        cluster: as of :func:`bootstrap_mean`.
        resamples: sets that are drawn. For a standard error some hundreds do (Efron & Tibshirani 1993, 6.4).
        seed: of the draws.

    Returns:
        ``[...]``; NaN where there are fewer than two clusters.
    """
    codes = cluster_codes(cluster, count)
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    drawn = np.random.default_rng(seed).integers(0, len(members), (resamples, len(members)))
    found = np.array([statistic(np.concatenate([members[code] for code in row])) for row in drawn])
    return found.std(axis=0, ddof=1) if len(members) > 1 else np.full(found.shape[1:], np.nan)


def student_interval(
    mean: np.ndarray, error: np.ndarray, clusters: int, *, level: float = LEVEL, together: int = 1
) -> Interval:
    """``mean`` with bounds by Student's t from its standard error.

    Args:
        mean: ``[...]``.
        error: standard errors ``[...]``.
        clusters: what they come from.
        level: coverage.
        together: how many of them are to hold together (Bonferroni).
    """
    half = error * stdtrit(max(clusters - 1, 1), (1 + _each_of(together, level)) / 2)
    return Interval(mean, mean - half, mean + half)


def wilson_interval(successes: Any, trials: Any, *, level: float = LEVEL) -> Interval:
    """A proportion with Wilson's score interval (Wilson 1927), which covers well near 0 and 1 too.

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


def _bounds(sums: np.ndarray, weights: np.ndarray, level: float, together: bool) -> np.ndarray:
    """Bounds ``[2, row]`` of means from sums ``[part, row, cluster]`` and weights ``[resample, cluster]``."""
    total, count, *infinite = sums
    everything, clusters = count.sum(-1, keepdims=True), (count > 0).sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, factor = total.sum(-1, keepdims=True) / everything, clusters / (clusters - 1)
        off = total - mean * count  # of each cluster, what it adds to the error of the ratio of sums
        error = np.sqrt(((off / (everything - count)) ** 2).sum(-1, keepdims=True) / factor)
        plain = np.sqrt((off**2).sum(-1, keepdims=True) * factor) / everything
        drawn = count @ weights.T
        shift = off @ weights.T / drawn  # [row, resample]: the resample's mean less the mean
        squares = (
            off**2 @ weights.T - 2 * shift * ((off * count) @ weights.T) + shift**2 * (count**2 @ weights.T)
        )
        drawn_error = np.sqrt(factor * np.maximum(squares, 0)) / drawn
        ratios = shift / np.maximum(drawn_error, plain / 3)
    endless = np.any(infinite, axis=(0, -1))
    if together:
        level = _each_of(len(sums[0]), level) if endless.any() else _balanced(ratios, level)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = _quantiles(ratios, tails)
    student = stdtrit(np.maximum(clusters - 1, 1), tails[1])[:, 0]
    bounds = mean[:, 0] - error[:, 0] * np.stack([np.fmax(high, student), np.fmin(low, -student)])
    bounds[:, endless] = _quantiles(_mean(sums[:, endless] @ weights.T), tails)
    return np.where(clusters[:, 0] > 1, bounds, np.nan)


def _bounds_of_counts(
    sums: np.ndarray, limits: tuple[float, float], level: float, together: bool
) -> np.ndarray:
    """Bounds ``[2, row]`` by Student's t, from the clusters and two more of their mean size, one at each limit."""
    total, count = sums
    clusters = (count > 0).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = (count.sum(-1) / clusters)[:, None]
        more = np.concatenate([total, np.array(limits) * size], -1)
        counts = np.concatenate([count, np.repeat(size, 2, axis=-1)], -1)
        everything = counts.sum(-1)
        mean, middle = total.sum(-1) / count.sum(-1), more.sum(-1) / everything
        off = more - middle[:, None] * counts
        error = np.sqrt((off**2).sum(-1) * (clusters + 2) / (clusters + 1)) / everything
    tail = (1 + (_each_of(len(total), level) if together else level)) / 2
    half = error * stdtrit(np.maximum(clusters - 1, 1), tail)
    low, high = (np.clip(bound, *limits) for bound in (middle - half, middle + half))
    return np.where(clusters > 1, [np.fmin(low, mean), np.fmax(high, mean)], np.nan)


def _each_of(several: int, level: float) -> float:
    """The level of each of several intervals that holds them together whatever they share (Bonferroni)."""
    return 1 - (1 - level) / max(several, 1)


def _balanced(ratios: np.ndarray, level: float) -> float:
    """The one level at which intervals from studentised resamples ``[row, resample]`` hold together."""
    ratios = ratios[~np.isnan(ratios).all(-1)]
    if len(ratios) < 2:
        return level
    resamples = ratios.shape[-1]
    ordered = np.sort(ratios, axis=-1)
    inner = [
        np.minimum(np.searchsorted(row, one, "right"), resamples - np.searchsorted(row, one, "left"))
        for row, one in zip(ordered, ratios, strict=True)
    ]
    # Of each resample, the narrowest two-sided tail that one of its ratios lies in.
    least = np.sort(np.min(inner, axis=0)) * 2 / resamples
    tail = least[int((1 - level) * resamples)]
    return 1 - float(np.clip(tail, (1 - level) / len(ratios), 1 - level))


def _require_dim(values: xr.DataArray, over: str) -> None:
    if over not in values.dims:
        dims = ", ".join(map(str, values.dims))
        raise InputError(f"dims {dims}", f"a dimension {over!r}", "Pass values per sample.")


def _mean(sums: np.ndarray) -> np.ndarray:
    """``[(sum, count, +inf, -inf), ...]`` -> mean."""
    total, count, above, below = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
    mean = np.where(above > 0, np.inf, mean)
    return np.where(below > 0, np.where(above > 0, np.nan, -np.inf), mean)


def _quantiles(draws: np.ndarray, tails: list[float]) -> np.ndarray:
    """``draws [row, resample]`` -> ``[tail, row]``; NaN draws (all-missing resamples) are left out."""
    ordered = np.sort(draws, axis=-1)  # NaN last
    count = (~np.isnan(ordered)).sum(-1)
    # Order statistics rather than interpolation: a difference of infinities is NaN.
    at = [np.clip(np.ceil(tail * count).astype(int) - 1, 0, None) for tail in tails]
    picked = np.stack([np.take_along_axis(ordered, i[:, None], axis=-1)[:, 0] for i in at])
    return np.where(count > 0, picked, np.nan)
