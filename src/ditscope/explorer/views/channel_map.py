"""The map of a channel: its value at every token."""

from __future__ import annotations

from ditscope import checks
from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.reading import opened_as, places_of, require_sample, sel, token_ids, values_at
from ditscope.explorer.view import Place, view
from ditscope.explorer.views.channel_ranking import channel_ranking

__all__ = ["channel_map", "channel_scale"]

FIRST = -1
"""Stands for the channel of the first rank."""


@view
def channel_map(cache: Cache, at: Place, channel: int = FIRST, statistic: str = "mean_abs") -> Payload:
    """The values of a channel, ``values[token]`` in the stored dtype; if some are left out, their places, ``token``.

    Where no channel is named it is the first in the ranking by a statistic.
    """
    if channel == FIRST:
        order = channel_ranking(cache, at, statistic).arrays["order"]
        channel = cache.schema.channels[order[0] if len(order) else 0]
    values = values_at(cache, at, [channel])[:, 0]
    ids = token_ids(cache, at.stream, at.sample)
    real = cache.token_mask(at.stream, [at.sample], at.branch)[0][ids]
    place = f"{at.stream!r}, {at.site!r}, channels=[{channel}]"
    code = f"{opened_as(cache)}\nvalues = cache.hidden({place}){sel(at, channel=channel)}"
    return Payload({"code": code, "channel": channel}, {"values": values[real], **places_of(ids[real])})


@view
def channel_scale(cache: Cache, stream: str, site: str, sample: int, channel: int) -> Payload:
    """The largest abs(x) that was recorded of a channel, over a sample's steps, branches and blocks."""
    require_sample(cache, sample)
    checks.name_of("channel", channel, cache.schema.channels)
    largest = cache.stats(stream, site)["abs_max"].sel(sample=sample, channel=channel).max()
    return Payload({"largest": float(largest)})
