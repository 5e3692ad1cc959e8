"""Statistics over tokens, in float64, with non-finite values counted and left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ditscope.passes.source import Source, hidden_states, own_dtype, recorded_statistics
from ditscope.passes.token_reduction import REDUCED, reduce_tokens

__all__ = ["token_statistics"]

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
    masks: list[xr.DataArray] = []
    if "token_mask" in hidden.coords:
        mask = hidden["token_mask"].astype(bool).chunk()
        masks, count = [mask.drop_vars(list(mask.coords))], mask.sum("token")
    else:
        count = xr.DataArray(hidden.sizes["token"])
    reduced = xr.apply_ufunc(
        _reduce,
        hidden.drop_vars([name for name, c in hidden.coords.items() if "token" in c.dims]),
        *masks,
        input_core_dims=[["token"]] * (1 + len(masks)),
        output_core_dims=[["statistic"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"statistic": len(REDUCED)}},
        keep_attrs=True,
    )
    stats = xr.Dataset({name: reduced.isel(statistic=row) for row, name in enumerate(REDUCED)})
    stats["nonfinite"] = stats["nonfinite"].astype(np.int64)
    stats["count"] = count
    return stats.assign_attrs(stream=stream, site=site, dtype=own_dtype(hidden))


def _reduce(values: np.ndarray, *masks: Any) -> np.ndarray:
    """``values [..., channel, token]``, a mask ``[..., 1, token]`` or ``[token]`` -> ``[..., channel, statistic]``."""
    real = [mask if mask.ndim == 1 else mask[..., 0, :] for mask in masks]
    return np.moveaxis(reduce_tokens(np.moveaxis(values, -1, -2), *real), -2, -1)


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
