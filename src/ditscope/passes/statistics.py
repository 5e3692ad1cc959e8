"""Channel statistics of hidden states, in float64, with non-finite values counted and left out.

A statistic is taken over the tokens of one (sample, step, branch, block) and then averaged over the
other reduced dimensions (the maximum for ``abs_max``). Which statistic names the massive channels is
in dispute: the first paper words it as the absolute channel mean over image tokens, which reads as
``abs_mean``, while the same group's SPARK (arXiv 2609.03813) defines ``mean_abs``; the order of averaging
over samples and steps is not stated in either. Channels of mixed sign rank in opposite ways, so both
are here and neither is called the right one.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from tqdm.dask import TqdmCallback

from ditscope import checks
from ditscope.passes.source import Source, hidden_states, recorded_statistics
from ditscope.vocabulary import HIDDEN_DIMS, RECORDED_STATISTICS

OVER = ("sample", "step", "branch", "token")
"""Dimensions that a ranking reduces unless told otherwise: it keeps one score per block and channel."""

_PIECE = 1 << 20  # values per float64 working copy: 8 MB, whatever the array's size
_CHUNK_BYTES = 64 << 20


def progress(label: str) -> AbstractContextManager[object]:
    """A bar over dask's tasks: silent when not on a terminal, and on short work."""
    return TqdmCallback(desc=label, disable=None, delay=2, leave=False)


def token_statistics(
    source: Source, *, stream: str = "image", site: str = "block_output", recorded: bool = True
) -> xr.Dataset:
    """Statistics over tokens, lazily.

    Args:
        source: a cache, hidden states ``[..., token, channel]``, or recorded statistics.
        stream: ``image`` or ``text``; padding of the text stream is left out by ``token_mask``.
        site: where in a block.
        recorded: use the statistics computed while recording, where the source has them.

    Returns:
        Variables ``mean, mean_abs, std, abs_max`` ``[..., channel]`` over finite values, float64 from
        tensors and as stored when recorded; ``nonfinite`` ``[..., channel]`` the number of NaN or
        infinite values; ``count`` ``[...]`` the number of tokens. Lazy: nothing is read until needed.
    """
    found = recorded_statistics(source, stream, site) if recorded or isinstance(source, xr.Dataset) else None
    if found is not None:
        return found
    hidden = _chunked(hidden_states(source, stream, site))
    if "token_mask" in hidden.coords:
        mask = hidden["token_mask"].astype(bool).chunk()
    else:
        mask = xr.DataArray(da.ones(hidden.sizes["token"], dtype=bool), dims="token")
    bare = hidden.drop_vars([name for name, c in hidden.coords.items() if "token" in c.dims])
    reduced = xr.apply_ufunc(
        _reduce_tokens,
        bare,
        mask.drop_vars(list(mask.coords)),
        input_core_dims=[["token"], ["token"]],
        output_core_dims=[["statistic"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"statistic": len(RECORDED_STATISTICS) + 1}},
        keep_attrs=True,
    )
    stats = xr.Dataset({name: reduced.isel(statistic=row) for row, name in enumerate(RECORDED_STATISTICS)})
    stats["nonfinite"] = reduced.isel(statistic=len(RECORDED_STATISTICS)).astype(np.int64)
    stats["count"] = mask.sum("token")
    return stats.assign_attrs(stream=stream, site=site)


def channel_statistics(
    source: Source,
    *,
    over: Iterable[str] = OVER,
    stream: str = "image",
    site: str = "block_output",
) -> xr.Dataset:
    """Every statistic, reduced over ``over``, lazily.

    With ``token`` in ``over`` the statistic is taken over tokens first and then averaged over the
    other reduced dimensions (maximum for ``abs_max``); recorded statistics are used where they exist.
    Without ``token`` it is taken over the reduced dimensions directly, from tensors, for each token.

    Returns:
        One variable per name in :data:`STATISTICS`, and ``nonfinite``, all ``[*kept, channel]``.

    Raises:
        InputError: for an unknown stream, site or dimension.
    """
    dims = checks.names_of("dimension to reduce over", over, HIDDEN_DIMS[:-1])
    if "token" in dims:
        cells = _named(token_statistics(source, stream=stream, site=site))
        rest = [dim for dim in dims if dim in cells.dims]
        reduced = cells.drop_vars(["abs_max", "nonfinite"]).mean(rest)
        reduced["abs_max"] = cells["abs_max"].max(rest)
        reduced["nonfinite"] = cells["nonfinite"].sum(rest)
    else:
        reduced = _over_directly(hidden_states(source, stream, site), dims)
    return reduced.assign_attrs(stream=stream, site=site)


def _named(stats: xr.Dataset) -> xr.Dataset:
    """Recorded variables as the named statistics, float64."""
    values = stats[list(RECORDED_STATISTICS)].astype(np.float64)
    named = xr.Dataset(
        {
            "mean_abs": values["mean_abs"],
            "abs_mean": abs(values["mean"]),
            "std": values["std"],
            "abs_max": values["abs_max"],
            "energy": values["mean"] ** 2 + values["std"] ** 2,
        }
    )
    lost = ~np.isfinite(values["mean_abs"]).astype(bool)
    named["nonfinite"] = (
        stats["nonfinite"].astype(np.int64) if "nonfinite" in stats else lost.astype(np.int64)
    )
    return named


def _over_directly(hidden: xr.DataArray, dims: tuple[str, ...]) -> xr.Dataset:
    rest = [dim for dim in dims if dim in hidden.dims]
    wide = (
        _chunked(hidden).astype(np.float32 if hidden.dtype != np.float64 else np.float64).astype(np.float64)
    )
    finite: Any = np.isfinite(wide)
    real: Any = hidden["token_mask"].astype(bool) if "token_mask" in hidden.coords else True
    values = wide.where(finite & real)
    return xr.Dataset(
        {
            "mean_abs": abs(values).mean(rest),
            "abs_mean": abs(values.mean(rest)),
            "std": values.std(rest),
            "abs_max": abs(values).max(rest),
            "energy": (values**2).mean(rest),
            "nonfinite": (~finite & real).sum(rest),
        }
    )


def _chunked(hidden: xr.DataArray) -> xr.DataArray:
    """Dask chunks that hold all tokens of a few blocks, so that memory follows the chunk, not the store."""
    if hidden.chunks is not None:
        return hidden.chunk({"token": -1})
    budget = max(1, _CHUNK_BYTES // (hidden.dtype.itemsize * hidden.sizes["token"] * hidden.sizes["channel"]))
    sizes: dict[str, int] = {"token": -1, "channel": -1}
    for dim in reversed([str(name) for name in hidden.dims if name not in sizes]):
        sizes[dim] = min(hidden.sizes[dim], budget)
        budget = max(1, budget // max(1, sizes[dim]))
    return hidden.chunk(sizes)


def _reduce_tokens(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``values [..., channel, token]``, ``mask [..., 1, token]`` -> ``[..., channel, statistic]``."""
    tokens, channels = values.shape[-1], values.shape[-2]
    lead = values.shape[:-2]
    slabs = np.moveaxis(values, -1, -2).reshape(-1, tokens, channels)
    # A mask arrives as [..., channel of size 1, token], or [token] where it does not vary.
    real = mask if mask.ndim == 1 else mask[..., 0, :]
    real = np.broadcast_to(real, (*lead, tokens)).reshape(-1, tokens)
    out = np.empty((len(slabs), len(RECORDED_STATISTICS) + 1, channels))
    rows = max(1, _PIECE // max(1, tokens * channels))
    for start in range(0, len(slabs), rows):
        part = slice(start, start + rows)
        out[part] = _reduce_slabs(slabs[part], real[part])
    return np.moveaxis(out, 1, -1).reshape(*lead, channels, len(RECORDED_STATISTICS) + 1)


def _reduce_slabs(slabs: np.ndarray, real: np.ndarray) -> np.ndarray:
    """``slabs [slab, token, channel]`` -> ``[slab, statistic, channel]``, in pieces of tokens."""
    count, tokens, channels = slabs.shape
    length = max(1, _PIECE // max(1, count * channels))
    pieces = [slice(start, start + length) for start in range(0, tokens, length)]
    total, absolute, largest, squared = np.zeros((4, count, channels))
    used = np.zeros((count, channels), dtype=np.int64)
    lost = np.zeros((count, channels), dtype=np.int64)

    def piece(part: slice) -> tuple[np.ndarray, np.ndarray]:
        # bfloat16 and float16 go through float32, which holds them exactly; all sums are float64.
        wide = (
            slabs[:, part].astype(np.float32 if slabs.dtype != np.float64 else np.float64).astype(np.float64)
        )
        valid = np.isfinite(wide) & real[:, part, None]
        return np.where(valid, wide, 0.0), valid

    for part in pieces:
        values, valid = piece(part)
        used += valid.sum(1)
        lost += (real[:, part, None] & ~valid).sum(1)
        total += values.sum(1)
        magnitude = abs(values)
        absolute += magnitude.sum(1)
        np.maximum(largest, magnitude.max(1), out=largest)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / used
        for part in pieces:
            values, valid = piece(part)
            deviation = np.where(valid, values - mean[:, None], 0.0)
            squared += (deviation**2).sum(1)
        columns = [mean, absolute / used, np.sqrt(squared / used), np.where(used > 0, largest, np.nan), lost]
    return np.stack(columns, axis=1)
