"""The ranking from which channels are frozen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

from ditscope.errors import InputError
from ditscope.passes.rank_channels import rank_channels
from ditscope.passes.ranking import Ranking


class RankBy(TypedDict, total=False):
    """How channels are ranked: keyword arguments of :func:`ditscope.passes.rank_channels`."""

    statistic: str
    stream: str
    site: str
    over: Iterable[str]


def ranking_of(source: Any, by: RankBy) -> Ranking:
    """A ranking as it is, or that of a cache, a hidden-state array or a dataset of statistics.

    Raises:
        InputError: a ranking, and how to rank beside it; or no source.
    """
    if isinstance(source, Ranking):
        if by:
            raise InputError(
                f"{', '.join(by)} for a ranking, which has its own",
                "either a ranking, or a cache and how to rank",
                "Leave it out, or pass what the ranking was made of.",
            )
        return source
    if source is None:
        raise InputError("no source", "a cache or a ranking", "Pass what the channels are to be frozen from.")
    return rank_channels(source, **by)


def live_by(by: RankBy) -> dict[str, Any]:
    """How live channels are ranked: at the edit's own site, over its own tokens.

    Raises:
        InputError: a site or dimensions to reduce.
    """
    apart = sorted(set(by) - {"statistic", "stream"})
    if apart:
        raise InputError(
            f"{' and '.join(apart)} for live channels",
            "statistic and stream alone: they are ranked where the edit acts",
            "Leave it out, or pass a cache.",
        )
    return dict(by)
