"""What a pass can read: a cache, a hidden-state array, or a dataset of recorded statistics.

Every pass resolves its ``source`` here, so that all of them accept the same things, refuse the same
things with the same words, and leave out samples that were never committed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import xarray as xr

from ditscope.errors import DitscopeError, InputError, found_expected, one_of

DIMS = ("sample", "step", "branch", "block", "token", "channel")
"""Dimensions of a hidden-state array, in order."""

RECORDED = ("mean", "mean_abs", "std", "abs_max")
"""Variables that a dataset of recorded statistics must have."""

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
        missing = [name for name in RECORDED if name not in source]
        if missing:
            raise InputError(
                found_expected(
                    f"a dataset without {', '.join(missing)}",
                    f"the variables {', '.join(RECORDED)}",
                    "Pass what cache.stats() returns.",
                )
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
            found_expected(
                "a dataset of statistics",
                "hidden states with a token dimension",
                "Pass a cache that was recorded with tensors=True, or its hidden() array.",
            )
        )
    if not isinstance(source, xr.DataArray):
        cache = _cache(source)
        found = (
            cache.hidden(stream, site) if channels is None else cache.hidden(stream, site, channels=channels)
        )
        return _checked(found, stream, site, required=("token", "channel"))
    found = _checked(source, stream, site, required=("token", "channel"))
    return found if channels is None else found.sel(channel=channels)


def check_dims(dims: Iterable[str], *, known: Iterable[str], what: str) -> tuple[str, ...]:
    """``dims`` as a tuple of distinct names, each of them known."""
    if isinstance(dims, str):
        dims = (dims,)
    known = tuple(known)
    names = tuple(dict.fromkeys(dims))
    for name in names:
        if name not in known:
            raise InputError(one_of(what, name, known))
    return names


def check_count(value: object, *, what: str, at_most: int | None = None, of: str = "") -> int:
    """``value`` as an integer from 1 to ``at_most``."""
    limit = "a whole number of at least 1" if at_most is None else f"a whole number from 1 to {at_most}{of}"
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1 or (at_most is not None and value > at_most):  # type: ignore[operator]
        raise InputError(found_expected(f"{what}={value!r}", limit, f"Pass another {what}."))
    return int(value)  # type: ignore[call-overload]


def _cache(source: Any) -> CacheLike:
    if isinstance(source, CacheLike):
        return source
    raise InputError(
        found_expected(
            f"a source of type {type(source).__name__}",
            "a cache, its hidden() array or its stats() dataset",
            "Open a store with ditscope.open_cache(path).",
        )
    )


def _checked(found: _Labelled, stream: str, site: str, *, required: tuple[str, ...]) -> _Labelled:
    missing = [dim for dim in required if dim not in found.dims]
    if missing == ["token"]:
        raise InputError(
            found_expected(
                f"{found.attrs.get('site', site)} with one value a channel",
                "hidden states with a token dimension",
                "Rank it or follow it over steps by its statistics, or pass another site.",
            )
        )
    unknown = [str(dim) for dim in found.dims if dim not in DIMS]
    if missing or unknown:
        raise InputError(
            found_expected(
                f"an array with dims {', '.join(map(str, found.dims)) or 'none'}",
                f"dims among {', '.join(DIMS)}, with {' and '.join(required)}",
                "Rename or transpose the array to these names.",
            )
        )
    for label, asked in (("stream", stream), ("site", site)):
        held = found.attrs.get(label, asked)
        if held != asked:
            raise InputError(
                found_expected(
                    f"an array of {label} {held!r}", f"{label} {asked!r}", f"Pass {label}={held!r}."
                )
            )
    return _with_labels(_complete(found))


def _complete(found: _Labelled) -> _Labelled:
    """Only the samples that the ledger calls done: anything else holds fill values."""
    if found.sizes.get("sample", 1) == 0:
        raise InputError(found_expected("no samples", "a complete sample", "Finish the recording first."))
    if "done" not in found.coords or "sample" not in found.dims:
        return found
    done = np.asarray(found["done"].values, dtype=bool)
    if done.all():
        return found
    if not done.any():
        raise InputError(
            found_expected(
                f"{done.size} samples, none of them complete",
                "a complete sample",
                "Finish the recording first.",
            )
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
