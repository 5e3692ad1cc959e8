"""The map of a channel: its value at every token."""

from __future__ import annotations

from ditscope import checks
from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.reading import opened_as, places_of, require_sample, sel, token_ids, values_at
from ditscope.explorer.view import Place, view

__all__ = ["channel_map", "channel_scale"]


@view
def channel_map(cache: Cache, at: Place, channel: int) -> Payload:
    """The values of a channel, ``values[token]`` in the stored dtype; if some are left out, their places, ``token``."""
    values = values_at(cache, at, [channel])[:, 0]
    ids = token_ids(cache, at.stream, at.sample)
    real = cache.token_mask(at.stream, [at.sample], at.branch)[0][ids]
    place = f"{at.stream!r}, {at.site!r}, channels=[{channel}]"
    code = f"{opened_as(cache)}\nvalues = cache.hidden({place}){sel(at, channel=channel)}"
    return Payload({"code": code}, {"values": values[real], **places_of(ids[real])})


@view
def channel_scale(cache: Cache, stream: str, site: str, sample: int, channel: int) -> Payload:
    """The largest abs(x) that was recorded of a channel, over a sample's steps, branches and blocks."""
    require_sample(cache, sample)
    checks.name_of("channel", channel, cache.schema.channels)
    largest = cache.stats(stream, site)["abs_max"].sel(sample=sample, channel=channel).max()
    return Payload({"largest": float(largest)})
