"""What a pass can read: a cache, a hidden-state array, or a dataset of recorded statistics.

Every pass resolves its ``source`` here, so that all of them accept the same things, refuse the same
things with the same words, and leave out samples that were never committed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import xarray as xr

from ditscope.errors import DitscopeError, InputError
from ditscope.vocabulary import HIDDEN_DIMS, RECORDED_STATISTICS

_Labelled = TypeVar("_Labelled", xr.DataArray, xr.Dataset)


@runtime_checkable
class CacheLike(Protocol):
    """What a pass uses of a cache."""

    def hidden(
        self, stream: str = ..., site: str = ..., *, channels: Sequence[int] | None = ...
    ) -> xr.DataArray:
        """Hidden states ``[sample, step, branch, block, token, channel]``, of some channels if named."""

    def stats(self, stream: str = ..., site: str = ...) -> xr.Dataset:
        """Recorded statistics ``[sample, step, branch, block, channel]``."""


Source: TypeAlias = CacheLike | xr.DataArray | xr.Dataset


def recorded_statistics(source: Source, stream: str, site: str) -> xr.Dataset | None:
    """Statistics that were computed while recording, or None where only tensors exist."""
    if isinstance(source, xr.Dataset):
        missing = [name for name in RECORDED_STATISTICS if name not in source]
        if missing:
            raise InputError(
                f"a dataset without {', '.join(missing)}",
                f"the variables {', '.join(RECORDED_STATISTICS)}",
                "Pass what cache.stats() returns.",
            )
        return _checked(source, stream, site, required=("channel",))
    if isinstance(source, xr.DataArray):
        return None
    cache = _cache(source)
    try:
        found = cache.stats(stream, site)
    except (DitscopeError, KeyError):
        # Tensors may exist without statistics; if they do not, hidden() says what is there.
        return None
    return None if found is None else _checked(found, stream, site, required=("channel",))


def hidden_states(
    source: Source, stream: str, site: str, *, channels: Sequence[int] | None = None
) -> xr.DataArray:
    """The hidden-state array of ``source``.

    Args:
        source: a cache, or the array itself.
        stream: ``image`` or ``text``.
        site: where in a block.
        channels: ids of the channels to take; a cache then reads no others.

    Raises:
        InputError: if ``source`` has statistics only, or holds another stream or site.
    """
    if isinstance(source, xr.Dataset):
        raise InputError(
            "a dataset of statistics",
            "hidden states with a token dimension",
            "Pass a cache that was recorded with tensors=True, or its hidden() array.",
        )
    if not isinstance(source, xr.DataArray):
        cache = _cache(source)
        found = (
            cache.hidden(stream, site) if channels is None else cache.hidden(stream, site, channels=channels)
        )
        return _checked(found, stream, site, required=("token", "channel"))
    found = _checked(source, stream, site, required=("token", "channel"))
    return found if channels is None else found.sel(channel=channels)


def _cache(source: Any) -> CacheLike:
    if isinstance(source, CacheLike):
        return source
    raise InputError(
        f"a source of type {type(source).__name__}",
        "a cache, its hidden() array or its stats() dataset",
        "Open a store with ditscope.open_cache(path).",
    )


def _checked(found: _Labelled, stream: str, site: str, *, required: tuple[str, ...]) -> _Labelled:
    missing = [dim for dim in required if dim not in found.dims]
    if missing == ["token"]:
        raise InputError(
            f"{found.attrs.get('site', site)} with one value a channel",
            "hidden states with a token dimension",
            "Rank it or follow it over steps by its statistics, or pass another site.",
        )
    unknown = [str(dim) for dim in found.dims if dim not in HIDDEN_DIMS]
    if missing or unknown:
        raise InputError(
            f"an array with dims {', '.join(map(str, found.dims)) or 'none'}",
            f"dims among {', '.join(HIDDEN_DIMS)}, with {' and '.join(required)}",
            "Rename or transpose the array to these names.",
        )
    for label, asked in (("stream", stream), ("site", site)):
        held = found.attrs.get(label, asked)
        if held != asked:
            raise InputError(f"an array of {label} {held!r}", f"{label} {asked!r}", f"Pass {label}={held!r}.")
    return _with_labels(_complete(found))


def _complete(found: _Labelled) -> _Labelled:
    """Only the samples that the ledger calls done: anything else holds fill values."""
    if found.sizes.get("sample", 1) == 0:
        raise InputError("no samples", "a complete sample", "Finish the recording first.")
    if "done" not in found.coords or "sample" not in found.dims:
        return found
    done = np.asarray(found["done"].values, dtype=bool)
    if done.all():
        return found
    if not done.any():
        raise InputError(
            f"{done.size} samples, none of them complete",
            "a complete sample",
            "Finish the recording first.",
        )
    warnings.warn(
        f"{done.size - done.sum()} of {done.size} samples are not complete and are left out.", stacklevel=4
    )
    return found.isel(sample=np.flatnonzero(done))


def _with_labels(found: _Labelled) -> _Labelled:
    """Labels for every dimension, in memory: dask would carry small coordinates as graphs."""
    counted = {
        dim: np.arange(found.sizes[dim]) for dim in found.dims if dim not in found.coords and dim != "branch"
    }
    lazy = {name: coord.compute() for name, coord in found.coords.items() if coord.chunks is not None}
    return found.assign_coords(counted | lazy)
