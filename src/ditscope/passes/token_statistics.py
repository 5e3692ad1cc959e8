"""Statistics over tokens, in float64, with non-finite values counted and left out."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr

from ditscope.passes.source import Source, hidden_states, own_dtype, recorded_statistics
from ditscope.vocabulary import RECORDED_STATISTICS

__all__ = ["token_statistics"]

_PIECE = 1 << 20  # values per float64 working copy: 8 MB, whatever the array's size
_CHUNK_BYTES = 64 << 20


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
    if recorded or isinstance(source, xr.Dataset):
        statistics = recorded_statistics(source, stream, site)
        if statistics is not None:
            return statistics
    hidden = chunked(hidden_states(source, stream, site))
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
    return stats.assign_attrs(stream=stream, site=site, dtype=own_dtype(hidden))


def chunked(hidden: xr.DataArray) -> xr.DataArray:
    """Dask chunks with all tokens of a few blocks, so that memory follows the chunk, not the store."""
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
    nonfinite = np.zeros((count, channels), dtype=np.int64)

    def piece(part: slice) -> tuple[np.ndarray, np.ndarray]:
        # bfloat16 and float16 go through float32, which has room for all of their values; sums are float64.
        wide = slabs[:, part].astype(np.result_type(slabs.dtype, np.float32)).astype(np.float64)
        valid = np.isfinite(wide) & real[:, part, None]
        return np.where(valid, wide, 0.0), valid

    for part in pieces:
        values, valid = piece(part)
        used += valid.sum(1)
        nonfinite += (real[:, part, None] & ~valid).sum(1)
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
        columns = [
            mean,
            absolute / used,
            np.sqrt(squared / used),
            np.where(used > 0, largest, np.nan),
            nonfinite,
        ]
    return np.stack(columns, axis=1)
