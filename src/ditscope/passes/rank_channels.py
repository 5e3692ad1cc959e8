"""Rank the channels of every block by a statistic."""

from __future__ import annotations

from collections.abc import Iterable

from ditscope import checks
from ditscope.passes.channel_statistics import OVER, channel_statistics, progress
from ditscope.passes.ranking import Ranking
from ditscope.passes.source import Source, marked_channels, own_dtype, warn_left_out, warn_saturated

__all__ = ["rank_channels"]


def rank_channels(
    source: Source,
    *,
    statistic: str = "mean_abs",
    stream: str = "image",
    site: str = "block_output",
    over: Iterable[str] = OVER,
) -> Ranking:
    """Score every channel of every block and rank them.

    The default keeps one ranking per block, over all samples, steps, branches and tokens. Keep more
    dimensions for one ranking per sample or step (``over=("branch", "token")``). The statistic is taken
    over tokens first, then averaged; see :mod:`ditscope.passes.channel_statistics`.

    Args:
        source: a cache, its ``hidden()`` array or its ``stats()`` dataset. A cache's recorded statistics
            are used where they exist; tensors are read chunk by chunk otherwise.
        statistic: ``mean_abs``, ``abs_mean``, ``std``, ``abs_max`` or ``energy``.
        stream: ``image`` or ``text``.
        site: where in a block.
        over: dimensions to reduce over.

    Raises:
        InputError: for an unknown statistic, stream, site or dimension.

    Warns:
        UserWarning: if channels have NaN or infinity; they are excluded, never ranked. If channels have values at
            the limit of the dtype they were computed in: what was clipped there was larger by an unknown amount.

    Examples:
        >>> ranking = ds.passes.rank_channels(cache, statistic="mean_abs")
        >>> ranking.top(6)["single.5"].shape
        (6,)
    """
    checks.statistic(statistic)
    over = checks.several(over)
    lazy = channel_statistics(source, over=over, stream=stream, site=site)
    with progress("statistics"):
        statistics = lazy.compute()
    # Ties go to the lower channel id, so the channels must be in order before a stable sort.
    statistics = statistics.sortby("channel").transpose(..., "channel")
    excluded = (statistics["nonfinite"] > 0) | statistics[statistic].isnull()
    warn_left_out(excluded, "excluded from the ranking; see Ranking.excluded")
    saturated = (statistics["saturated"] > 0) & ~excluded
    warn_saturated(
        marked_channels(saturated),
        own_dtype(statistics),
        "their scores may be too low; see Ranking.saturated",
    )
    return Ranking(statistics, statistic, stream, site, over, excluded, source)
