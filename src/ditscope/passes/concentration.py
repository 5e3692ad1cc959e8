"""How concentrated a ranking is: is there a small set of massive channels at all?

Measures over the channel dimension of non-negative scores. SPARK (arXiv 2609.03813) reports the Gini
coefficient over the top 32 channels and the share of squared energy in the top 8; Sun et al.
(arXiv 2402.17762) call an activation massive when it exceeds 100 and about 1,000 times the median.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError

__all__ = ["energy_share", "exceeds_threshold", "gini", "measure_concentration"]

MAGNITUDE = 100.0
"""Sun et al.'s absolute threshold, in the model's own activation unit."""

RATIO = 1000.0
"""Sun et al.'s relative threshold: times the median magnitude."""


def gini(scores: xr.DataArray, *, top: int | None = None) -> xr.DataArray:
    """Gini coefficient over channels: 0 when all are equal, (n-1)/n when one channel has everything.

    Args:
        scores: non-negative ``[..., channel]``; NaN channels are left out.
        top: use only this many largest channels (SPARK uses 32).

    Returns:
        ``[...]``; NaN where all scores are zero.

    Examples:
        >>> round(ds.passes.gini(xr.DataArray([0.0, 0.0, 1.0], dims="channel")).item(), 3)
        0.667
    """
    _check_scores(scores)
    if top is not None:
        checks.whole_number("top", top, most=scores.sizes["channel"], of=" (the channels there are)")
    return xr.apply_ufunc(
        _gini,
        scores.compute(),
        input_core_dims=[["channel"]],
        kwargs={"top": top},
        vectorize=True,
        output_dtypes=[float],
    )


def energy_share(energy: xr.DataArray, k: int) -> xr.DataArray:
    """Share of the summed energy in the ``k`` channels of largest energy.

    Args:
        energy: mean square per channel ``[..., channel]``; NaN channels are left out.
        k: number of channels.

    Returns:
        ``[...]`` from 0 to 1.

    Examples:
        >>> ds.passes.energy_share(xr.DataArray([8.0, 1.0, 1.0], dims="channel"), k=1).item()
        0.8
    """
    _check_scores(energy)
    checks.whole_number("k", k, most=energy.sizes["channel"], of=" (the channels there are)")
    values = np.sort(np.nan_to_num(energy.transpose(..., "channel").values, nan=0.0), axis=-1)
    with np.errstate(invalid="ignore"):
        share = values[..., -k:].sum(-1) / values.sum(-1)
    return energy.isel(channel=0, drop=True).copy(data=share)


def ratio_to_median(scores: xr.DataArray) -> xr.DataArray:
    """Each channel's score over the median channel's score, ``[..., channel]``."""
    _check_scores(scores)
    return scores / scores.median("channel")


def exceeds_threshold(
    peak: xr.DataArray, typical: xr.DataArray, *, magnitude: float = MAGNITUDE, ratio: float = RATIO
) -> xr.DataArray:
    """Sun et al.'s rule, channel by channel: a value above ``magnitude`` and ``ratio`` times the median.

    Args:
        peak: largest magnitude of a channel, ``[..., channel]``.
        typical: ``[..., channel]`` magnitudes whose median over channels stands for the hidden state's
            median magnitude. Sun et al. take the median over all values of the hidden state; from
            stored statistics the median over channels of ``mean_abs`` is the nearest thing.
        magnitude: absolute threshold.
        ratio: threshold in medians.

    Returns:
        bool ``[..., channel]``.

    Examples:
        >>> statistics = ds.passes.channel_statistics(cache)
        >>> above = ds.passes.exceeds_threshold(statistics["abs_max"], statistics["mean_abs"], magnitude=5.0, ratio=3.0)
        >>> above.sum("channel").dims
        ('block',)
    """
    return (peak > magnitude) & (peak > ratio * typical.median("channel"))


def measure_concentration(
    statistics: xr.Dataset,
    *,
    statistic: str = "mean_abs",
    k: int = 12,
    gini_top: int | None = None,
    magnitude: float = MAGNITUDE,
    ratio: float = RATIO,
) -> xr.Dataset:
    """The four measures side by side.

    Args:
        statistics: what :func:`ditscope.passes.channel_statistics` returns.
        statistic: the one whose Gini coefficient and ratio to the median are reported.
        k: size of the set whose energy share and mean ratio are reported.
        gini_top: Gini over this many largest channels; None for all.
        magnitude: Sun et al.'s absolute threshold.
        ratio: Sun et al.'s relative threshold.

    Returns:
        ``gini``, ``energy_share`` (of the top k by energy), ``top_over_median`` (largest score over the
        median), ``top_k_over_median`` (mean of the top k over the median), ``above_threshold`` (number
        of channels), each ``[*kept]``.

    Examples:
        >>> ds.passes.measure_concentration(ds.passes.channel_statistics(cache), k=6)["gini"].dims
        ('block',)
    """
    statistics = statistics[list({statistic, "mean_abs", "abs_max", "energy"})].compute()
    scores = statistics[statistic].transpose(..., "channel")
    checks.whole_number("k", k, most=scores.sizes["channel"], of=" (the channels there are)")
    relative = ratio_to_median(scores)
    ordered = -np.sort(-relative.values, axis=-1)  # NaN sorts last
    each = relative.isel(channel=0, drop=True)
    massive = exceeds_threshold(
        statistics["abs_max"], statistics["mean_abs"], magnitude=magnitude, ratio=ratio
    )
    return xr.Dataset(
        {
            "gini": gini(scores, top=gini_top),
            "energy_share": energy_share(statistics["energy"], k),
            "top_over_median": each.copy(data=ordered[..., 0]),
            "top_k_over_median": each.copy(data=np.nanmean(ordered[..., :k], axis=-1)),
            "above_threshold": massive.sum("channel"),
        },
        attrs={"statistic": statistic, "k": k, "magnitude": magnitude, "ratio": ratio}
        | ({} if gini_top is None else {"gini_top": gini_top}),
    )


def _gini(values: np.ndarray, top: int | None) -> float:
    values = np.sort(values[~np.isnan(values)])
    values = values if top is None else values[-top:]
    total = values.sum()
    if not total > 0:
        return float("nan")
    n = len(values)
    return float(2 * (np.arange(1, n + 1) * values).sum() / (n * total) - (n + 1) / n)


def _check_scores(scores: xr.DataArray) -> None:
    if "channel" not in scores.dims or bool((scores < 0).any()):
        raise InputError(
            f"scores with dims {', '.join(map(str, scores.dims))}, smallest {float(scores.min()):.3g}",
            "non-negative scores with a channel dimension",
            "Pass a statistic such as mean_abs.",
        )
