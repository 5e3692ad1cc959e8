"""Reading a recording at one place, and the Python that reads the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ditscope.cache.reader import Cache
from ditscope.errors import InputError
from ditscope.explorer.view import Place


def require_sample(cache: Cache, sample: int) -> None:
    """See that a sample is there and committed.

    Raises:
        InputError: it is not.
    """
    if sample not in cache.ledger:
        raise InputError(
            f"sample {sample}", f"one of the {len(cache.ledger)} committed samples", "Choose another sample."
        )


def values_at(cache: Cache, at: Place, channels: Sequence[int] | None = None) -> np.ndarray[Any, Any]:
    """Hidden states ``[token, channel]`` of one sample in the stored dtype.

    Raises:
        InputError: the place was not recorded, or has no tokens.
    """
    require_sample(cache, at.sample)
    if not cache.schema.site(at.stream, at.site).has_tokens:
        raise InputError(
            f"the site {at.site}", "a site with tokens", "It has one value a channel: rank them."
        )
    return cache.values_at(
        at.stream,
        at.site,
        samples=[at.sample],
        step=at.step,
        branch=at.branch,
        block=at.block,
        channels=channels,
    )[0]


def token_ids(cache: Cache, stream: str, sample: int) -> np.ndarray[Any, Any]:
    """Places in the stream of the tokens whose hidden states are kept ``[token]``."""
    spec = cache.schema.stream(stream)
    if spec.random_tokens is not None:
        found = cache.hidden(stream, _site_with_tokens(cache, stream))["token_id"]
        return found.sel(sample=sample).values
    return np.arange(spec.tokens) if spec.token_ids is None else np.asarray(spec.token_ids)


def places_of(ids: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """``token``, int32, of the values of an answer; nothing where they are the stream's first, in order."""
    return {} if (ids == np.arange(len(ids))).all() else {"token": ids.astype(np.int32)}


def states_at(cache: Cache, at: Place, channels: Sequence[int]) -> xr.DataArray:
    """Hidden states of one sample ``[sample, step, branch, block, token, channel]``, labelled, as a pass takes them."""
    hidden = cache.hidden(at.stream, at.site, channels=channels)
    return hidden.sel({name: [label] for name, label in at.labels.items()})


def opened_as(cache: Cache) -> str:
    """Python that opens a recording."""
    return f"import ditscope as ds\n\ncache = ds.open_cache({str(cache.path)!r})"


def sel(at: Place, **further: Any) -> str:
    """Python that selects a place."""
    return f".sel({', '.join(f'{name}={label!r}' for name, label in {**at.labels, **further}.items())})"


def _site_with_tokens(cache: Cache, stream: str) -> str:
    return next(site.name for site in cache.schema.sites if site.stream == stream and site.has_tokens)
