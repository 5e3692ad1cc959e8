"""What a pass can read: a cache, a hidden-state array, or a dataset of recorded statistics.

Every pass resolves its ``source`` here, so that all of them accept the same things, refuse the same
things with the same words, and leave out samples that were never committed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, overload, runtime_checkable

import dask.array as da
import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import CacheError, InputError
from ditscope.precision import DTYPES, limit
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


@runtime_checkable
class ReducesTokens(Protocol):
    """A cache that has what a function makes of tokens without putting hidden states together."""

    def reduced_over_tokens(
        self, reduce: Callable[[np.ndarray], np.ndarray], rows: int, stream: str = ..., site: str = ...
    ) -> da.Array:
        """Lazy ``[sample, step, branch, block, row, channel]``."""


Source: TypeAlias = CacheLike | xr.DataArray | xr.Dataset


def recorded_statistics(source: Source, stream: str, site: str) -> xr.Dataset | None:
    """Statistics that were computed while recording, or None where only tensors exist."""
    if isinstance(source, xr.DataArray):
        return None
    if isinstance(source, xr.Dataset):
        missing = [name for name in RECORDED_STATISTICS if name not in source]
        if missing:
            raise InputError(
                f"a dataset without {', '.join(missing)}",
                f"the variables {', '.join(RECORDED_STATISTICS)}",
                "Pass what cache.stats() returns.",
            )
        return _checked(source, stream, site, required=("channel",))
    cache = _cache(source)
    try:
        return _checked(cache.stats(stream, site), stream, site, required=("channel",))
    except (CacheError, KeyError):
        # Tensors may exist without statistics; if they do not, hidden() says what is there.
        return None


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
        InputError: ``source`` has statistics only, or is of another stream or site.
    """
    if isinstance(source, xr.Dataset):
        raise InputError(
            "a dataset of statistics",
            "hidden states with a token dimension",
            "Pass a cache that was recorded with tensors=True, or its hidden() array.",
        )
    if isinstance(source, xr.DataArray):
        hidden = _checked(source, stream, site, required=("token", "channel"))
        return hidden if channels is None else hidden.sel(channel=channels)
    only = {} if channels is None else {"channels": channels}
    return _checked(_cache(source).hidden(stream, site, **only), stream, site, required=("token", "channel"))


def warn_left_out(nonfinite: xr.DataArray, what: str) -> None:
    """Warn of channels with non-finite values, bool ``[..., channel]``; ``what`` is done with them."""
    ids = marked_channels(nonfinite)
    if ids:
        warnings.warn(f"{_counted(ids, ' with NaN or infinity')} are {what}.", stacklevel=3)


def warn_saturated(ids: Collection[int], dtype: str | None, what: str) -> None:
    """Warn of channels with values at a dtype's limit, and of ``what`` that means."""
    if ids:
        having = f" with values at the limit of {dtype or 'their dtype'}"
        warnings.warn(f"{_counted(sorted(ids), having)}: {what}.", stacklevel=3)


@overload
def own_dtype(array: xr.DataArray) -> str: ...


@overload
def own_dtype(array: xr.Dataset) -> str | None: ...


def own_dtype(array: xr.DataArray | xr.Dataset) -> str | None:
    """The dtype that hidden states were computed in; None for statistics that do not say."""
    own = array.dtype if isinstance(array, xr.DataArray) else None
    named = array.attrs.get("dtype", own)
    return None if named is None else str(named)


def limits(dtype: str | None) -> list[float]:
    """The largest value of the dtype that values were computed in; of any, if unknown."""
    return [limit(name) for name in (DTYPES if dtype is None else (dtype,))]


def marked_channels(marked: xr.DataArray) -> list[int]:
    """Ids of the channels that are marked anywhere in bool ``[..., channel]``."""
    return (
        marked["channel"].values[marked.any([dim for dim in marked.dims if dim != "channel"]).values].tolist()
    )


def whole_chunks(array: xr.DataArray, dim: str, most: int) -> list[slice]:
    """Spans along a dimension of at most ``most``, or of one chunk: what is taken span by span is read once."""
    bounds = np.cumsum([0, *array.variable.chunksizes.get(dim, [1] * array.sizes[dim])])
    spans, start = [], 0
    for last, after in zip(bounds[1:], [*bounds[2:], np.inf], strict=True):
        if after - start > max(most, 1):
            spans.append(slice(start, int(last)))
            start = int(last)
    return spans


def _counted(ids: Sequence[int], having: str) -> str:
    """How many channels that have something, and which."""
    named = ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")
    return f"{len(ids)} channels{having} (ids {named})"


def _cache(source: Any) -> CacheLike:
    if isinstance(source, CacheLike):
        return source
    raise InputError(
        f"a source of type {type(source).__name__}",
        "a cache, its hidden() array or its stats() dataset",
        "Open a store with ditscope.open_cache(path).",
    )


def _checked(array: _Labelled, stream: str, site: str, *, required: tuple[str, ...]) -> _Labelled:
    missing = [dim for dim in required if dim not in array.dims]
    if missing == ["token"]:
        raise InputError(
            f"{array.attrs.get('site', site)} with one value a channel",
            "hidden states with a token dimension",
            "Rank it or follow it over steps by its statistics, or pass another site.",
        )
    unknown = [str(dim) for dim in array.dims if dim not in HIDDEN_DIMS]
    if missing or unknown:
        raise InputError(
            f"an array with dims {', '.join(map(str, array.dims)) or 'none'}",
            f"dims among {', '.join(HIDDEN_DIMS)}, with {' and '.join(required)}",
            "Rename or transpose the array to these names.",
        )
    for label, asked in (("stream", checks.stream(stream)), ("site", site)):
        own = array.attrs.get(label, asked)
        if own != asked:
            raise InputError(f"an array of {label} {own!r}", f"{label} {asked!r}", f"Pass {label}={own!r}.")
    return _with_labels(_complete(array))


def _complete(array: _Labelled) -> _Labelled:
    """Only the samples that the ledger calls done: anything else has fill values."""
    if array.sizes.get("sample", 1) == 0:
        raise InputError("no samples", "a complete sample", "Finish the recording first.")
    if "done" not in array.coords or "sample" not in array.dims:
        return array
    done = np.asarray(array["done"].values, dtype=bool)
    if done.all():
        return array
    if not done.any():
        raise InputError(
            f"{done.size} samples, none of them complete",
            "a complete sample",
            "Finish the recording first.",
        )
    warnings.warn(
        f"{done.size - done.sum()} of {done.size} samples are not complete and are left out.", stacklevel=4
    )
    return array.isel(sample=np.flatnonzero(done))


def _with_labels(array: _Labelled) -> _Labelled:
    """Labels for every dimension, in memory: dask would carry small coordinates as graphs."""
    counted = {
        dim: np.arange(array.sizes[dim]) for dim in array.dims if dim not in array.coords and dim != "branch"
    }
    lazy = {name: coord.compute() for name, coord in array.coords.items() if coord.chunks is not None}
    return array.assign_coords(counted | lazy)


@dataclass(frozen=True)
class ArrayBlock:
    """What ``blocks=`` can call a block of a labelled array."""

    index: int
    name: str
    kind: str


def array_blocks(array: xr.DataArray) -> list[ArrayBlock]:
    """The blocks along an array's dimension ``block``; those without names have their index as one."""
    indices = array["block"].values
    names, kinds = (
        np.atleast_1d(array.coords.get(f"block_{part}", indices).astype(str)) for part in ("name", "kind")
    )
    return [ArrayBlock(int(i), str(n), str(k)) for i, n, k in zip(indices, names, kinds, strict=True)]
