"""Doubt beside every number: paired differences with intervals that draw whole prompts.

An edit is compared with the baseline of the same prompt and seed, so the unit is the difference of a
pair, and prompts, not images, are independent.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import xarray as xr

from ditscope.errors import InputError, found_expected
from ditscope.passes.resampling import (
    LEVEL,
    RESAMPLES,
    Interval,
    bootstrap_mean,
    check_interval,
    interval_over,
)


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
                found_expected(
                    f"dims {', '.join(map(str, values.dims))}",
                    f"a dimension {over!r}",
                    "Pass values per sample.",
                )
            )
    labels, others = condition[over].values, other[over].values
    if len(labels) != len(others) or set(labels.tolist()) != set(others.tolist()):
        raise InputError(
            found_expected(
                f"{len(labels)} and {len(others)} samples, not the same ones",
                f"equal labels along {over!r}",
                "Run both conditions on the same prompts and seeds.",
            )
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
            found_expected(
                f"{successes} successes of {trials}", "0 <= successes <= trials, trials >= 1", "Count again."
            )
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return Interval(share, np.clip(centre - half, 0, share), np.clip(centre + half, share, 1))
