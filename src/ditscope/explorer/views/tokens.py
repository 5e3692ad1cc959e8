"""Every token of one place: its norm, and the channels that are largest there."""

from __future__ import annotations

import numpy as np

from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.reading import opened_as, places_of, sel, token_ids, values_at
from ditscope.explorer.view import Place, view

__all__ = ["tokens"]

_TOGETHER = 64
"""Tokens that are worked on at once: so few stay in a processor's cache."""


@view
def tokens(cache: Cache, at: Place, top: int = 6) -> Payload:
    """``norm[token]`` over all recorded channels, and the ``top`` channels of each by abs(x), with their values.

    ``channel`` and ``value`` are ``[token, top]``, the largest first. What is NaN comes before all numbers. Of a text,
    ``text`` has what the tokenizer calls each token, where that is known.
    """
    stored = values_at(cache, at)
    ids = token_ids(cache, at.stream, at.sample)
    real = cache.token_mask(at.stream, [at.sample], at.branch)[0][ids]
    stored, ids = stored[real], ids[real]
    top = max(1, min(top, stored.shape[1]))
    norm, some = np.empty(len(stored), np.float32), np.empty((len(stored), top), np.intp)
    for start in range(0, len(stored), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        norm[part], some[part] = _largest(stored[part].astype(np.float32), top)
    code = (
        f"{opened_as(cache)}\nstates = cache.hidden({at.stream!r}, {at.site!r}){sel(at)}.astype('float32')\n"
        "norm = (states**2).sum('channel') ** 0.5"
    )
    told = {"code": code}
    if not cache.schema.stream(at.stream).has_grid:
        texts = cache.token_texts(at.stream, [at.sample]).sel(branch=at.branch).values[0]
        told |= {"text": texts[ids].tolist()} if any(texts) else {}
    return Payload(
        told,
        {
            **places_of(ids),
            "norm": norm,
            "channel": np.asarray(
                cache.schema.channels, np.int32 if cache.schema.width > 2**16 else np.uint16
            )[some],
            "value": np.take_along_axis(stored, some, 1),
        },
    )


def _largest(values: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Norm ``[token]``, and the positions ``[token, top]`` of the largest abs(x), of float32 ``[token, channel]``."""
    norm = np.sqrt(np.einsum("tc,tc->t", values, values))
    sizes, rows = np.abs(values), np.arange(len(values))
    some = np.empty((len(values), top), np.intp)
    for rank in range(top):  # a few passes are faster than a partition of thousands of channels
        some[:, rank] = sizes.argmax(axis=1)
        sizes[rows, some[:, rank]] = -1
    return norm, some
