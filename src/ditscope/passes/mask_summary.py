"""Means over samples of a mask study, with intervals."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope.intervals import LEVEL, RESAMPLES, interval_over

__all__ = ["mask_summary"]


def mask_summary(
    study: xr.Dataset, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> xr.Dataset:
    """Means over draws and samples of a :func:`mask_study`, with intervals that draw whole prompts.

    Args:
        study: what ``mask_study`` returns.
        level: coverage of the intervals.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        ``iou``, ``iou_low``, ``iou_high`` ``[polarity, selector, block]``, polarity ``signed`` (the rule as
        it is) and ``oracle`` (the better of mask and complement); ``lead``, ``lead_low``, ``lead_high``:
        the first selector minus each, paired by sample; and the shares ``polarity_right``, ``collapsed``
        and ``foreground_share`` ``[selector, block]``. Bounds end at 0 and 1 (-1 and 1 of ``lead``). The figure is
        ``plots.iou_by_block``.

    Examples:
        >>> sets = {"massive": massive, "random": ranking.random(6)}
        >>> study = ds.passes.mask_study(cache, sets, ds.shapes.foreground(cache.images), blocks="single.5", pca=None)
        >>> ds.passes.mask_summary(study, resamples=200)["lead"].dims
        ('polarity', 'selector', 'block')
    """
    per_sample = study.mean("draw")
    score = xr.concat([per_sample["iou"], per_sample["iou_oracle"]], dim="polarity")
    score = score.assign_coords(polarity=["signed", "oracle"])
    summary = per_sample[["polarity_right", "collapsed", "foreground_share"]].mean("sample")
    lead = score.isel(selector=0, drop=True) - score
    for name, values, least in (("iou", score, 0.0), ("lead", lead, -1.0)):
        interval = interval_over(values, level=level, resamples=resamples, seed=seed)
        interval = interval.transpose("polarity", "selector", "block")
        summary[name] = interval["mean"]
        summary[f"{name}_low"] = np.maximum(interval["low"], least)
        summary[f"{name}_high"] = np.minimum(interval["high"], 1.0)
    return summary.assign_attrs(study.attrs | interval.attrs)
