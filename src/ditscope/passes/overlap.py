"""How alike rankings are: Jaccard of top-k sets, rank-biased overlap, and Spearman's correlation.

Each function takes the scores of several items (samples, steps, blocks) and returns the item-by-item
matrix, so that one call serves a mean, a plot and a permutation null.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import xarray as xr
from scipy.stats import hypergeom, rankdata

from ditscope import checks
from ditscope.channels.channel_set import PADDING, ChannelSet
from ditscope.errors import InputError

__all__ = ["expected_jaccard", "jaccard", "rank_biased_overlap", "spearman"]

PERSISTENCE = 0.9
"""Webber et al.'s p: at 0.9 the first ten ranks carry 86 % of the weight."""


def ranks(scores: np.ndarray) -> np.ndarray:
    """Rank of each channel, 0 for the largest score, ties to the lower index: int ``[..., channel]``."""
    order = np.argsort(-np.asarray(scores), axis=-1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[-1]), order.shape), axis=-1)
    return rank


@overload
def jaccard(scores: ChannelSet, k: ChannelSet) -> xr.DataArray: ...


@overload
def jaccard(scores: np.ndarray, k: int) -> np.ndarray: ...


def jaccard(scores: Any, k: Any) -> Any:
    """Jaccard index of the items' top-k sets, ``[item, item]``; or of two sets of channels, ``[*kept]``.

    That of two sets has all dimensions for which either has sets of its own. As anywhere in xarray none is dropped
    for its length, so that code for many draws takes one as well; ``.squeeze("draw")`` drops that.

    Args:
        scores: finite ``[item, channel]``; ties go to the lower channel. Or a set of channels.
        k: size of each set. Or the other set: of the same stream, and of the same blocks where both have blocks.

    Raises:
        InputError: scores that are not finite, a k larger than the width, or sets of other streams or places.

    Examples:
        >>> ds.passes.jaccard(massive, ranking.random(6)).dims
        ('block', 'draw')
        >>> ds.passes.jaccard(np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 1.0, 2.0, 0.0]]), 2)[0, 1].round(3).item()
        0.333
    """
    if isinstance(scores, ChannelSet) and isinstance(k, ChannelSet):
        return _jaccard_of_sets(scores, k)
    scores = _check(scores)
    return jaccard_of_ranks(ranks(scores), checks.whole_number("k", k, most=scores.shape[1], of=" channels"))


def rank_biased_overlap(
    scores: np.ndarray, *, persistence: float = PERSISTENCE, depth: int | None = None
) -> np.ndarray:
    """Extrapolated rank-biased overlap, ``[item, item]`` (Webber, Moffat & Zobel 2010, equation 23).

    Args:
        scores: finite ``[item, channel]``; ties go to the lower channel.
        persistence: p, from 0 to 1, both left out: small values look at the first ranks only.
        depth: evaluate to this rank and extrapolate from there; None goes to where less than 0.1 % of
            the weight is left.

    Returns:
        1 for equal rankings to ``depth``, 0 for disjoint ones.

    Examples:
        >>> ds.passes.rank_biased_overlap(ranking.scores.values).shape  # every block with every other
        (10, 10)
    """
    scores = _check(scores)
    deepest = default_depth(persistence, scores.shape[1])
    depth = deepest if depth is None else depth
    checks.whole_number("depth", depth, most=scores.shape[1], of=" channels")
    return rbo_of_ranks(ranks(scores), persistence, depth)


def spearman(scores: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over channels, ``[item, item]``; ties share their mean rank.

    An item whose scores are all equal has no ranking: its row is NaN.

    Examples:
        >>> ds.passes.spearman(ranking.scores.values).shape  # every block with every other
        (10, 10)
    """
    return spearman_of_units(rank_units(_check(scores)))


def default_depth(persistence: float, channels: int) -> int:
    """The rank beyond which less than 0.1 % of rank-biased overlap's weight lies."""
    if not 0 < persistence < 1:
        raise InputError(f"persistence={persistence}", "a number between 0 and 1", "Use 0.9.")
    return min(channels, int(np.ceil(np.log(1e-3) / np.log(persistence))))


def expected_jaccard(k: int, channels: int) -> float:
    """Mean Jaccard index of two random sets of ``k`` among ``channels``.

    Examples:
        >>> round(ds.passes.expected_jaccard(k=12, channels=24), 2)
        0.34
    """
    shared = np.arange(k + 1)
    return float((hypergeom.pmf(shared, channels, k, k) * shared / (2 * k - shared)).sum())


def rank_units(scores: np.ndarray) -> np.ndarray:
    """Centred ranks of length 1, ``[..., channel]``: their products are Spearman's correlation."""
    centred = rankdata(scores, axis=-1) - (scores.shape[-1] + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred / np.sqrt((centred**2).sum(-1, keepdims=True))


def spearman_of_units(unit: np.ndarray) -> np.ndarray:
    """:func:`spearman` ``[..., item, item]`` from the ranks of :func:`rank_units`."""
    return np.clip(unit @ np.swapaxes(unit, -1, -2), -1, 1)


def jaccard_of_ranks(rank: np.ndarray, k: int) -> np.ndarray:
    """:func:`jaccard` ``[..., item, item]`` from ranks that are already known."""
    member = (rank < k).astype(np.float32)
    shared = (member @ np.swapaxes(member, -1, -2)).astype(float)
    return shared / (2 * k - shared)


def rbo_of_ranks(rank: np.ndarray, persistence: float, depth: int) -> np.ndarray:
    """:func:`rank_biased_overlap` ``[..., item, item]`` from ranks that are already known.

    A channel counts in the overlap at every depth beyond the worse of its two ranks, so the whole sum
    is one table look-up per channel and pair.
    """
    depths = np.arange(1, depth + 1)
    terms = (1 - persistence) / persistence * persistence**depths / depths
    # weight[m]: what a channel adds whose worse rank is m; nothing from `depth` on.
    weight = np.append(np.cumsum(terms[::-1])[::-1] + persistence**depth / depth, 0.0)
    leading = np.argpartition(rank, depth - 1, axis=-1)[..., :depth]
    inside = np.argsort(np.take_along_axis(rank, leading, axis=-1), axis=-1)
    leading = np.take_along_axis(leading, inside, axis=-1)
    own = np.arange(depth)
    overlap = np.empty((*rank.shape[:-1], rank.shape[-2]))
    for item in range(rank.shape[-2]):
        theirs = np.take_along_axis(rank, leading[..., item, None, :], axis=-1)
        worse = np.minimum(np.maximum(theirs, own), depth)
        overlap[..., item, :] = weight[worse].sum(-1)
    return overlap


def _jaccard_of_sets(one: ChannelSet, other: ChannelSet) -> xr.DataArray:
    try:
        if one.stream != other.stream:
            raise ValueError
        first, second = xr.align(one.ids, other.ids, join="exact", exclude=["rank"])
    except ValueError as error:
        found = [f"{each.label!r} of the {each.stream} stream, blocks {each.blocks}" for each in (one, other)]
        raise InputError(
            " and ".join(found),
            "sets of one stream at the same places",
            "Choose places by .sel(block=[...]).",
        ) from error
    named = xr.DataArray(np.unique([*np.unique(first), *np.unique(second)]), dims="channel")
    named = named[named != PADDING]
    first, second = ((ids == named).any("rank") for ids in (first, second))
    return ((first & second).sum("channel") / (first | second).sum("channel")).rename("jaccard")


def _check(scores: Any) -> np.ndarray:
    if isinstance(scores, ChannelSet):
        raise InputError("one ChannelSet", "two", "Pass jaccard(one, other).")
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise InputError(
            f"scores of shape {scores.shape}, {int((~np.isfinite(scores)).sum())} of them not finite",
            "finite scores [item, channel]",
            "Drop the channels that are not finite in every item.",
        )
    return scores
