"""Every token of one place: its norm, and the channels that are largest there."""

from __future__ import annotations

import numpy as np

from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.reading import opened_as, places_of, sel, token_ids, values_at
from ditscope.explorer.view import Place, view

__all__ = ["tokens"]


@view
def tokens(cache: Cache, at: Place, top: int = 6) -> Payload:
    """``norm[token]`` over all recorded channels, and the ``top`` channels of each by abs(x), with their values.

    ``channel`` and ``value`` are ``[token, top]``, the largest first. What is NaN comes before all numbers.
    """
    stored = values_at(cache, at)
    ids = token_ids(cache, at.stream, at.sample)
    real = cache.token_mask(at.stream, [at.sample], at.branch)[0][ids]
    stored, ids = stored[real], ids[real]
    values = stored.astype(np.float32)
    top = max(1, min(top, values.shape[1]))
    size = np.abs(values)
    # NaN sorts behind everything, and so is among the last.
    some = np.argpartition(size, -top, axis=1)[:, -top:]
    own = np.take_along_axis(size, some, 1)
    some = np.take_along_axis(some, np.argsort(-np.nan_to_num(own, nan=np.inf), axis=1, kind="stable"), 1)
    code = (
        f"{opened_as(cache)}\nstates = cache.hidden({at.stream!r}, {at.site!r}){sel(at)}.astype('float32')\n"
        "norm = (states**2).sum('channel') ** 0.5"
    )
    return Payload(
        {"code": code},
        {
            **places_of(ids),
            "norm": np.sqrt(np.einsum("tc,tc->t", values, values)),
            "channel": np.asarray(
                cache.schema.channels, np.int32 if cache.schema.width > 2**16 else np.uint16
            )[some],
            "value": np.take_along_axis(stored, some, 1),
        },
    )
