"""Is the ranking of channels stable? Agreement of rankings across samples, steps, blocks and branches.

That magnitude ranking is stable is the assumption that all use of massive channels rests on. Agreement
comes with a null (the same number of items with channel labels permuted) and with an interval that
resamples prompts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ditscope import checks
from ditscope.errors import InputError
from ditscope.intervals import bootstrap_mean, check_interval, cluster_codes, cluster_weights
from ditscope.passes.overlap import (
    PERSISTENCE,
    default_depth,
    expected_jaccard,
    jaccard_of_ranks,
    ranks,
    rbo_of_ranks,
    spearman,
)
from ditscope.passes.ranking import Ranking
from ditscope.passes.source import Source
from ditscope.passes.statistics import channel_statistics
from ditscope.vocabulary import HIDDEN_DIMS

ACROSS = ("sample", "prompt", "seed", "step", "branch", "block")
"""What rankings can be compared across."""

MEASURES = ("jaccard", "rbo", "spearman")
_BETWEEN = ("sample", "prompt", "seed")
_NULL_ITEMS = 32


class _Settings(NamedTuple):
    k: int
    persistence: float
    level: float
    resamples: int
    permutations: int
    seed: int


class _Found(NamedTuple):
    """Agreement across one thing, over the measures: ``[measure]``, and by block, and the matrix."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    by_block: xr.DataArray | None
    matrix: xr.DataArray
    channels: int


def stability(
    source: Source | Ranking,
    *,
    across: Iterable[str] = ("sample", "step"),
    k: int = 12,
    statistic: str | None = None,
    stream: str = "image",
    site: str = "block_output",
    persistence: float = PERSISTENCE,
    permutations: int = 200,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Agreement of channel rankings across samples, prompts, seeds, steps, branches or blocks.

    Samples are compared with one another, block by block, each sample's score averaged over its steps
    and branches: ``sample`` compares all pairs, ``prompt`` pairs of different prompts (and equal seed,
    where there are such), ``seed`` pairs of equal prompt. Steps, branches and blocks are compared
    within each sample (block by block, except across blocks) and then averaged over samples.

    The null permutes channel labels independently in every item; it is drawn for at most 32 items and
    one block, which makes it wider than the null of the reported mean: its p-values are conservative.
    Intervals draw prompts with replacement (samples where there is one prompt); they are NaN where the
    samples have been averaged away.

    Args:
        source: a cache, hidden states, statistics, or a Ranking. A ranking that reduced the dimension
            goes back to what it ranked.
        across: what to compare across.
        k: size of the top sets for Jaccard.
        statistic: None takes the ranking's own, or ``mean_abs``.
        stream: ``image`` or ``text``; a ranking brings its own.
        site: where in a block; a ranking brings its own.
        persistence: p of the rank-biased overlap.
        permutations: draws of the null.
        resamples: bootstrap draws.
        level: coverage of the intervals.
        seed: of both.

    Returns:
        ``agreement``, ``low``, ``high``, ``null`` (mean), ``null_high`` (upper bound at ``level``,
        one-sided) and ``p_value``, all ``[across, measure]``; ``by_block`` ``[across, measure, block]``;
        and the Jaccard matrices ``jaccard_sample`` ``[sample, sample_other]`` (mean over blocks),
        ``jaccard_step`` ``[block, step, step_other]``, ``jaccard_branch``, ``jaccard_block``
        ``[block, block_other]``, as far as asked for, with the chance level in their attributes.

    Raises:
        InputError: for an unknown name, a k larger than the width, or fewer than two items to compare.
    """
    names = tuple(
        dict.fromkeys(
            checks.name_of("thing to compare across", name, ACROSS) for name in checks.several(across)
        )
    )
    if isinstance(source, Ranking):
        statistic, stream, site = statistic or source.statistic, source.stream, source.site
    statistic = checks.statistic(statistic or "mean_abs")
    checks.whole_number("k", k)
    checks.whole_number("permutations", permutations)
    check_interval(level, resamples)
    default_depth(persistence, k)  # refuses a persistence that is not one
    settings = _Settings(k, persistence, level, resamples, permutations, seed)
    lazy = {name: _profiles(source, name, statistic, stream, site) for name in names}
    for name, profiles in lazy.items():
        _check_items(profiles, name, k)

    found = {name: (_between if name in _BETWEEN else _within)(lazy[name], name, settings) for name in names}
    return _assemble(found, settings).assign_attrs(statistic=statistic, stream=stream, site=site, k=k)


def _profiles(source: Source | Ranking, name: str, statistic: str, stream: str, site: str) -> xr.Dataset:
    """The statistic and non-finite counts ``[sample, block, (compared,) channel]``, lazily."""
    keep = {"sample", "block"} | ({name} if name not in _BETWEEN else set())
    if isinstance(source, Ranking) and ({"sample", name} - set(_BETWEEN[1:])) <= set(source.kept):
        kept = source.statistics[[statistic, "nonfinite"]]
        rest = [dim for dim in source.kept if dim not in keep]
        reduced = kept.max(rest) if statistic == "abs_max" else kept.mean(rest)
        return reduced.assign(nonfinite=kept["nonfinite"].sum(rest))
    under = source.source if isinstance(source, Ranking) else source
    over = [dim for dim in HIDDEN_DIMS[:-1] if dim not in keep]
    return channel_statistics(under, over=over, stream=stream, site=site)[[statistic, "nonfinite"]]


def _check_items(profiles: xr.Dataset, name: str, k: int) -> None:
    checks.whole_number("k", k, most=profiles.sizes["channel"], of=" (the channels there are)")
    dim = "sample" if name in _BETWEEN else name
    if profiles.sizes.get(dim, 1) < 2:
        raise InputError(
            f"one {dim}",
            f"at least two {dim}s to compare across {name}",
            "Record more, or rank with that dimension kept.",
        )
    if name in ("prompt", "seed"):
        _pairs(profiles, name)


def _within(profiles: xr.Dataset, name: str, settings: _Settings) -> _Found:
    """Items of one sample against one another, then the mean over samples."""
    if "sample" not in profiles.dims:
        profiles = profiles.expand_dims("sample")
    if "block" not in profiles.dims:
        profiles = profiles.expand_dims("block")
    by_block = name != "block"
    rows: list[np.ndarray] = []
    total: Any = 0.0
    channels = profiles.sizes["channel"]
    dims = ("block", name, "channel") if by_block else ("block", "channel")
    for sample in tqdm(
        range(profiles.sizes["sample"]), desc=f"stability across {name}s", disable=None, delay=2, leave=False
    ):
        scores = _finite(profiles.isel(sample=sample).transpose(*dims))
        groups = scores if by_block else scores[None]
        channels = min(channels, groups.shape[-1])
        matrices = np.stack([_measure(group, settings) for group in groups])  # [group, measure, item, item]
        upper = np.triu_indices(matrices.shape[-1], 1)
        rows.append(matrices[..., upper[0], upper[1]].mean(-1))
        total = total + matrices[:, 0]
    values = np.stack(rows)  # [sample, group, measure]
    labels, _ = _clusters(profiles)
    interval = bootstrap_mean(
        np.moveaxis(values.mean(1), 0, -1),
        cluster=labels,
        level=settings.level,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    matrix = total / len(rows)
    coords = _coords(profiles, "block", name)
    if by_block:
        labelled = xr.DataArray(matrix, dims=("block", name, f"{name}_other"), coords=coords)
        blocks = xr.DataArray(values.mean(0).T, dims=("measure", "block"), coords=_coords(profiles, "block"))
    else:
        labelled, blocks = xr.DataArray(matrix[0], dims=("block", "block_other"), coords=coords), None
    labelled = labelled.assign_coords({f"{name}_other": profiles[name].values})
    return _Found(*interval, blocks, labelled, channels)


def _between(profiles: xr.Dataset, name: str, settings: _Settings) -> _Found:
    """Samples against one another, block by block."""
    if "block" not in profiles.dims:
        profiles = profiles.expand_dims("block")
    scores = _finite(profiles.transpose("block", "sample", "channel"))
    pairs = _pairs(profiles, name)
    total: Any = 0.0
    rows = []
    for group in tqdm(scores, desc=f"stability across {name}s", disable=None, delay=2, leave=False):
        matrices = _measure(group, settings)
        rows.append(matrices[:, pairs].mean(-1))
        total = total + matrices
    matrices = total / len(scores)
    _, codes = _clusters(profiles)
    low, high = np.transpose([_pair_interval(matrix, pairs, codes, settings) for matrix in matrices])
    by_block = xr.DataArray(np.stack(rows, 1), dims=("measure", "block"), coords=_coords(profiles, "block"))
    labelled = xr.DataArray(matrices[0], dims=("sample", "sample_other"), coords=_coords(profiles, "sample"))
    labelled = labelled.assign_coords(sample_other=profiles["sample"].values)
    return _Found(matrices[:, pairs].mean(-1), low, high, by_block, labelled, scores.shape[-1])


def _pairs(profiles: xr.Dataset, name: str) -> np.ndarray:
    """Which pairs of samples are compared, each once: bool ``[sample, sample]``."""
    count = profiles.sizes["sample"]
    once = np.triu(np.ones((count, count), dtype=bool), 1)
    if name == "sample":
        return once
    missing = [label for label in ("prompt", "seed") if label not in profiles.coords]
    if missing:
        raise InputError(
            f"samples without a {missing[0]} coordinate",
            "prompt and seed of every sample",
            "Pass the cache itself.",
        )
    same_prompt, same_seed = (
        profiles[label].values[:, None] == profiles[label].values for label in ("prompt", "seed")
    )
    if name == "seed":
        chosen = once & same_prompt & ~same_seed
    else:
        chosen = once & ~same_prompt & same_seed
        chosen = chosen if chosen.any() else once & ~same_prompt
    if not chosen.any():
        other = "two seeds of one prompt" if name == "seed" else "two prompts"
        raise InputError(f"no pair of samples that differ in {name}", other, "Record more samples.")
    return chosen


def _pair_interval(
    matrix: np.ndarray, pairs: np.ndarray, codes: np.ndarray, settings: _Settings
) -> tuple[float, float]:
    """Bootstrap of a mean over pairs: clusters are drawn, and a pair weighs as often as both are there.

    A sample is never paired with its own copy, which would agree perfectly.
    """
    clusters = int(codes.max()) + 1
    if clusters < 2:
        return float("nan"), float("nan")
    member = np.eye(clusters)[codes]
    weights = cluster_weights(clusters, settings.resamples, settings.seed).astype(float)
    sums = []
    for values in (np.where(pairs, np.nan_to_num(matrix), 0.0), (pairs & ~np.isnan(matrix)).astype(float)):
        between = member.T @ values @ member
        inside = np.diag(between).copy()
        np.fill_diagonal(between, 0.0)
        sums.append(((weights @ between) * weights).sum(1) + weights @ inside)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[0] / sums[1]
    low, high = np.nanquantile(means, [(1 - settings.level) / 2, (1 + settings.level) / 2])
    return float(low), float(high)


def _measure(scores: np.ndarray, settings: _Settings) -> np.ndarray:
    """``scores [item, channel]`` -> ``[measure, item, item]``."""
    rank = ranks(scores)
    depth = default_depth(settings.persistence, scores.shape[1])
    return np.stack(
        [
            jaccard_of_ranks(rank, settings.k),
            rbo_of_ranks(rank, settings.persistence, depth),
            spearman(scores),
        ]
    )


def _null(items: int, channels: int, settings: _Settings) -> np.ndarray:
    """Mean agreement of items with permuted channel labels, ``[permutation, measure]``."""
    random = np.random.default_rng(settings.seed)
    items = min(items, _NULL_ITEMS)
    upper = np.triu_indices(items, 1)
    drawn = (_measure(random.random((items, channels)), settings) for _ in range(settings.permutations))
    return np.stack([matrices[:, upper[0], upper[1]].mean(-1) for matrices in drawn])


def _finite(profiles: xr.Dataset) -> np.ndarray:
    """Scores without the channels that are not finite in some item, the channel last."""
    loaded = profiles.compute()
    nonfinite = loaded["nonfinite"].values
    scores = loaded.drop_vars("nonfinite").to_dataarray().isel(variable=0).values
    lost = ((nonfinite > 0) | np.isnan(scores)).any(tuple(range(scores.ndim - 1)))
    if lost.any():
        ids = loaded["channel"].values[lost]
        warnings.warn(
            f"{len(ids)} channels hold NaN or infinity and are left out "
            f"(ids {', '.join(map(str, ids[:8]))}{', ...' if len(ids) > 8 else ''}).",
            stacklevel=4,
        )
    return scores[..., ~lost]


def _clusters(profiles: xr.Dataset) -> tuple[np.ndarray | None, np.ndarray]:
    """Labels to draw by, and their codes: prompts, or samples where there is only one prompt."""
    count = profiles.sizes["sample"]
    if "prompt" in profiles.coords and "sample" in profiles["prompt"].dims:
        labels = profiles["prompt"].values
        codes = cluster_codes(labels, count)
        if codes.max() > 0:
            return labels, codes
    return None, np.arange(count)


def _coords(profiles: xr.Dataset, *dims: str) -> dict[Any, Any]:
    return {name: c for name, c in profiles.coords.items() if c.dims and set(c.dims) <= set(dims)}


def _assemble(found: dict[str, _Found], settings: _Settings) -> xr.Dataset:
    shape = ("across", "measure")
    mean = np.stack([each.mean for each in found.values()])
    items = [each.matrix.shape[-1] for each in found.values()]
    nulls = np.stack(
        [_null(n, each.channels, settings) for n, each in zip(items, found.values(), strict=True)], axis=1
    )  # [permutation, across, measure]
    p_value = (1 + (nulls >= mean).sum(0)) / (1 + settings.permutations)
    result = xr.Dataset(
        {
            "agreement": (shape, mean),
            "low": (shape, np.stack([each.low for each in found.values()])),
            "high": (shape, np.stack([each.high for each in found.values()])),
            "null": (shape, nulls.mean(0)),
            "null_high": (shape, np.quantile(nulls, settings.level, axis=0)),
            "p_value": (shape, np.where(np.isnan(mean), np.nan, p_value)),
            "items": ("across", items),
        },
        coords={"across": list(found), "measure": list(MEASURES)},
        attrs={"level": settings.level, "permutations": settings.permutations, "seed": settings.seed},
    )
    blocks = {name: each.by_block for name, each in found.items() if each.by_block is not None}
    if blocks:
        joined = xr.concat([b.assign_coords(across=name) for name, b in blocks.items()], dim="across")
        result["by_block"] = joined.reindex(across=list(found))
    for name, each in found.items():
        chance = expected_jaccard(settings.k, each.channels)
        result[f"jaccard_{'sample' if name in _BETWEEN else name}"] = each.matrix.assign_attrs(chance=chance)
    return result
