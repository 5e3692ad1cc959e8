"""The channels of one place, in order of a statistic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ditscope import checks
from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.reading import opened_as, require_sample, sel, states_at
from ditscope.explorer.view import Place, view
from ditscope.passes.token_statistics import token_statistics
from ditscope.vocabulary import STATISTICS

__all__ = ["channel_ranking"]

_OF_RECORDED = {
    "mean_abs": "statistics['mean_abs']",
    "abs_mean": "abs(statistics['mean'])",
    "std": "statistics['std']",
    "abs_max": "statistics['abs_max']",
    "energy": "statistics['mean'] ** 2 + statistics['std'] ** 2",
}


@view
def channel_ranking(cache: Cache, at: Place, statistic: str = "mean_abs") -> Payload:
    """Every channel's ``score[channel]``, float32, and ``order``, the positions of the largest first, NaN left out.

    The recorded statistics are read where there are some, else the hidden states of this place.
    """
    checks.statistic(statistic)
    require_sample(cache, at.sample)
    site = cache.schema.site(at.stream, at.site)
    if cache.schema.stats and site.has_tokens:
        read = f"cache.stats({at.stream!r}, {at.site!r})"
        place: dict[str, Any] = {"step": at.step, "branch": at.branch, "block": at.block}

        def recorded(name: str) -> np.ndarray:
            return cache.statistic_at(at.stream, at.site, name, samples=[at.sample], **place)[0]
    else:
        if site.has_tokens:
            states = states_at(cache, at, cache.schema.channels)
            found = token_statistics(states, stream=at.stream, site=at.site)
            read = f"ds.passes.token_statistics(cache, stream={at.stream!r}, site={at.site!r})"
        else:
            found = cache.stats(at.stream, at.site).sel(at.labels)
            read = f"cache.stats({at.stream!r}, {at.site!r})"

        def recorded(name: str) -> np.ndarray:
            return found[name].values.reshape(-1)

    score = _score(statistic, recorded).astype(np.float32)
    order = np.argsort(-score, kind="stable")
    order = order[np.isfinite(score[order])].astype(np.int32)
    code = f"{opened_as(cache)}\nstatistics = {read}{sel(at)}\nscores = {_OF_RECORDED[statistic]}"
    median = float(np.median(score[order])) if len(order) else float("nan")
    return Payload(
        {"code": code, "statistic": STATISTICS[statistic], "median": median}, {"score": score, "order": order}
    )


def _score(statistic: str, recorded: Callable[[str], np.ndarray]) -> np.ndarray:
    """A statistic from those that are recorded."""
    if statistic == "abs_mean":
        return np.abs(recorded("mean"))
    if statistic == "energy":
        return recorded("mean").astype(np.float64) ** 2 + recorded("std").astype(np.float64) ** 2
    return recorded(statistic)
