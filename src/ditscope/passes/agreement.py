"""Do two recordings name the same leading channels? Two checkpoints, two dtypes, or two sites of one model.

Within one recording, across samples and steps, it is :func:`ditscope.passes.stability` that asks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError
from ditscope.intervals import LEVEL, RESAMPLES, check_interval, interval_over
from ditscope.passes.channel_statistics import channel_statistics
from ditscope.passes.mean_statistics import COUNTS
from ditscope.passes.overlap import expected_jaccard, rank_units, ranks
from ditscope.passes.source import Source, warn_left_out, whole_chunks

__all__ = ["agreement"]

MEASURES = {"jaccard": (0.0, 1.0), "spearman": (-1.0, 1.0)}
"""Measures of agreement, and their limits."""

_LOADED_BYTES = 64 << 20  # of profiles at once, or one chunk of samples


class _Overlap(NamedTuple):
    """Of some samples: ``[measure, sample, block]``, and means over samples in each draw ``[draw, block]``, summed."""

    values: np.ndarray
    null: np.ndarray


def agreement(
    first: Source,
    second: Source,
    *,
    k: int = 12,
    statistic: str = "mean_abs",
    stream: str = "image",
    site: str = "block_output",
    second_site: str | None = None,
    depths: tuple[int, int] | None = None,
    permutations: int = 1000,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> xr.Dataset:
    """Overlap of the top-k sets of two recordings by block, and rank correlation over all channels.

    Each sample of the first is compared with the second's of the same prompt and seed, by its scores averaged over
    steps, branches and tokens. So it is asked of two checkpoints of one family, of two dtypes, and, with
    ``second_site="attn_gate"`` and one cache as both, of the gate's magnitude and the hidden state's.

    The null permutes the channel labels of the second, in all its samples and blocks alike: what rankings of one
    model share stays shared. Intervals are over prompts (:func:`ditscope.intervals.interval_over`).

    Args:
        first: a cache, hidden states or statistics, with ``prompt`` and ``seed`` of every sample.
        second: likewise, with the same samples in any order, and the same channels.
        k: size of the top sets.
        statistic: that orders the channels.
        stream: ``image`` or ``text``.
        site: where in a block; of the second too, unless ``second_site`` says otherwise.
        second_site: where in a block the second is ranked.
        depths: how many blocks each *model* has, where the two have not the same blocks: each block of the first is
            then matched with the second's of the nearest depth ``(index + 0.5) / blocks``. None compares blocks of
            equal index: of one source those that have both sites, of two sources all.
        permutations: draws of the null.
        level: coverage of intervals, and of ``null_high``, one-sided.
        resamples: bootstrap draws.
        seed: of permutations and bootstrap.

    Returns:
        ``agreement``, ``low``, ``high`` ``[measure, block]`` and, of the mean over blocks, ``overall``,
        ``overall_low``, ``overall_high`` ``[measure]``; ``by_sample`` ``[measure, sample, block]``;
        of the Jaccard index ``null`` (mean) and ``null_high`` and ``p_value`` ``[block]``, ``overall_p_value``.
        Blocks are the first's; the coordinate ``block_other`` is the second's. Attribute ``chance`` is the Jaccard
        index of random sets.

    Raises:
        InputError: samples, channels or blocks that do not correspond, or an argument that cannot be used.

    Warns:
        UserWarning: channels with NaN or infinity in either are left out.

    Examples:
        >>> first, last = cache.hidden().isel(step=[0]), cache.hidden().isel(step=[-1])  # or two caches
        >>> both = ds.passes.agreement(first, last, k=6, permutations=50, resamples=200)
        >>> both["agreement"].dims
        ('measure', 'block')
    """
    checks.statistic(statistic)
    checks.whole_number("permutations", permutations)
    check_interval(level, resamples)
    one = _profiles(first, statistic, stream, site)
    other = _profiles(second, statistic, stream, site if second_site is None else second_site)
    other = _same_samples(one, other)
    _same_channels(one, other)
    one, other = _matched_blocks(one, other, depths, same=first is second)
    checks.whole_number("k", k, most=one.sizes["channel"], of=" (the channels there are)")
    left_out = ((one["nonfinite"] > 0).any(("sample", "block"))).compute() | (
        (other["nonfinite"] > 0).any(("sample", "block"))
    ).compute()
    warn_left_out(left_out, "left out")
    scores, others = (each[statistic].isel(channel=~left_out.values) for each in (one, other))
    known = scores.sizes["channel"]
    checks.whole_number("k", k, most=known, of=" (the channels without NaN or infinity)")
    draws = np.random.default_rng(seed).permuted(np.tile(np.arange(known), (permutations, 1)), axis=1)
    most = _LOADED_BYTES // max(1, scores.nbytes // scores.sizes["sample"])
    parts = [
        _overlap(scores.isel(sample=part).values, others.isel(sample=part).values, k, draws)
        for part in whole_chunks(scores, "sample", most)
    ]
    along = {
        name: c.compute()
        for name, c in scores.coords.items()
        if set(c.dims) <= {"sample", "block"} and c.dims
    }
    by_sample = xr.DataArray(
        np.concatenate([part.values for part in parts], axis=1),
        dims=("measure", "sample", "block"),
        coords={"measure": list(MEASURES), **along},
    )
    null = np.sum([part.null for part in parts], axis=0) / scores.sizes["sample"]
    return _assembled(by_sample, null, level, resamples, seed).assign_attrs(
        stream=stream,
        site=site,
        second_site=site if second_site is None else second_site,
        statistic=statistic,
        k=k,
        chance=expected_jaccard(k, known),
        permutations=permutations,
        level=level,
    )


def _profiles(source: Source, statistic: str, stream: str, site: str) -> xr.Dataset:
    """The statistic and non-finite counts ``[sample, block, channel]``, lazily."""
    over = ("step", "branch", "token")
    found = channel_statistics(source, over=over, stream=stream, site=site)[[statistic, *COUNTS]]
    for dim in ("sample", "block"):
        found = found if dim in found.dims else found.expand_dims(dim)
    return found.transpose("sample", "block", "channel")


def _same_samples(one: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """The other with the first's order of samples."""
    keys = []
    for each in (one, other):
        missing = [name for name in ("prompt", "seed") if name not in each.coords]
        if missing:
            raise InputError(
                f"samples without {missing[0]}", "prompt and seed of each", "Pass the cache itself."
            )
        keys.append(list(zip(each["prompt"].values.tolist(), each["seed"].values.tolist(), strict=True)))
    if len(set(keys[0])) < len(keys[0]) or sorted(keys[0]) != sorted(keys[1]):
        raise InputError(
            f"{len(keys[0])} and {len(keys[1])} samples, {len(set(keys[0]) & set(keys[1]))} of one prompt and seed",
            "the same prompts and seeds in both, each once",
            "Record both with one list of prompts and seeds, or select the samples that both have.",
        )
    return other.isel(sample=[keys[1].index(key) for key in keys[0]])


def _same_channels(one: xr.Dataset, other: xr.Dataset) -> None:
    ids = [each["channel"].values for each in (one, other)]
    if not np.array_equal(ids[0], ids[1]):
        raise InputError(
            f"{len(ids[0])} and {len(ids[1])} channels, not the same ones",
            "equal channel ids in both",
            "Select the channels that both have. Numbers of channels mean nothing across models of different width.",
        )


def _matched_blocks(
    one: xr.Dataset, other: xr.Dataset, depths: tuple[int, int] | None, *, same: bool
) -> tuple[xr.Dataset, xr.Dataset]:
    own, others = (each["block"].values for each in (one, other))
    if depths is not None:
        first, second = checks.whole_numbers("depths", depths)
        if first <= own.max() or second <= others.max():
            raise InputError(
                f"depths={depths} with blocks up to {own.max()} and {others.max()}",
                "how many blocks each model has",
                "Pass (len(dit.blocks), len(other.blocks)).",
            )
        distance = abs((own[:, None] + 0.5) / first - (others + 0.5) / second)
        at = distance.argmin(axis=1)
    else:
        common = np.intersect1d(own, others)
        if not len(common) or (not same and len(common) < max(len(own), len(others))):
            raise InputError(
                f"blocks {own.tolist()} and {others.tolist()}",
                "the same blocks in both",
                "Record the same blocks, or pass depths=(blocks of the first model, of the second).",
            )
        one, own = one.sel(block=common), common
        at = np.searchsorted(others, common, sorter=np.argsort(others))
        at = np.argsort(others)[at]
    other = other.isel(block=at)
    one = one.assign_coords(block_other=("block", other["block"].values))
    return one, other.assign_coords(block=own)


def _overlap(one: np.ndarray, other: np.ndarray, k: int, draws: np.ndarray) -> _Overlap:
    """Of scores ``[sample, block, channel]``; ``draws`` ``[draw, channel]`` are the permutations."""
    leading = np.argsort(-one, axis=-1, kind="stable")[..., :k]
    member = ranks(other) < k
    shared = np.take_along_axis(member, leading, axis=-1).sum(-1)
    spearman = np.clip((rank_units(one) * rank_units(other)).sum(-1), -1, 1)
    null = np.empty((len(draws), one.shape[1]))
    for row, moved in zip(null, draws, strict=True):
        row[:] = _jaccard(np.take_along_axis(member, moved[leading], axis=-1).sum(-1), k).sum(0)
    return _Overlap(np.stack([_jaccard(shared, k), spearman]), null)


def _jaccard(shared: np.ndarray, k: int) -> np.ndarray:
    return shared / (2 * k - shared)


def _assembled(
    by_sample: xr.DataArray, null: np.ndarray, level: float, resamples: int, seed: int
) -> xr.Dataset:
    found = {"by_sample": by_sample}
    least, most = (xr.DataArray(list(ends), dims="measure") for ends in zip(*MEASURES.values(), strict=True))
    for prefix, values in (("", by_sample), ("overall_", by_sample.mean("block"))):
        interval = interval_over(values, level=level, resamples=resamples, seed=seed)
        found["overall" if prefix else "agreement"] = interval["mean"]
        # An interval does not reach beyond what the measure can be.
        found[f"{prefix}low"] = interval["low"].clip(least, most)
        found[f"{prefix}high"] = interval["high"].clip(least, most)
    own = by_sample.sel(measure="jaccard", drop=True).mean("sample")
    # Equal means of Jaccard indices can differ by rounding.
    reached = (null >= own.values - 1e-9).sum(0)
    overall = (null.mean(1) >= float(own.mean()) - 1e-9).sum()
    found |= {
        "null": own.copy(data=null.mean(0)),
        "null_high": own.copy(data=np.quantile(null, level, axis=0)),
        "p_value": own.copy(data=(1 + reached) / (1 + len(null))),
        "overall_p_value": xr.DataArray((1 + overall) / (1 + len(null))),
    }
    return xr.Dataset(found)
