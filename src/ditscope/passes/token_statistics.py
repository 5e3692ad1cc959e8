"""Statistics over tokens, in float64, with non-finite values counted and left out."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr

from ditscope.passes.source import ReducesTokens, Source, hidden_states, own_dtype, recorded_statistics
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

    Examples:
        >>> ds.passes.token_statistics(cache)["std"].dims
        ('sample', 'step', 'branch', 'block', 'channel')
    """
    if recorded or isinstance(source, xr.Dataset):
        statistics = recorded_statistics(source, stream, site)
        if statistics is not None:
            return statistics
    hidden = chunked(hidden_states(source, stream, site)).transpose(..., "token", "channel")
    masked = "token_mask" in hidden.coords
    count = hidden["token_mask"].astype(bool).sum("token") if masked else xr.DataArray(hidden.sizes["token"])
    if isinstance(source, ReducesTokens) and not masked:
        reduced = source.reduced_over_tokens(reduce_tokens, len(REDUCED), stream, site)
    else:
        reduced = _reduced(hidden)
    each = hidden.isel(token=0).drop_vars([name for name, c in hidden.coords.items() if "token" in c.dims])
    rows = {name: reduced[..., row, :] for row, name in enumerate(REDUCED)}
    rows["nonfinite"] = rows["nonfinite"].astype(np.int64)
    named = {name: xr.Variable(each.dims, row, each.attrs) for name, row in rows.items()}
    about = {"stream": stream, "site": site, "dtype": own_dtype(hidden)}
    return xr.Dataset(named, each.coords, about).assign(count=count)


def _reduced(hidden: xr.DataArray) -> da.Array:
    """Rows :data:`REDUCED` in place of tokens."""
    dims, blocks = [str(dim) for dim in hidden.dims], [hidden.data]
    if "token_mask" in hidden.coords:
        mask = hidden["token_mask"].astype(bool)
        bare = mask.drop_vars(list(mask.coords)).chunk(
            {dim: hidden.variable.chunksizes[dim] for dim in mask.dims}
        )
        blocks.append(bare.expand_dims([dim for dim in dims if dim not in mask.dims]).transpose(*dims).data)
    return da.map_blocks(
        _reduce,
        *blocks,
        chunks=(*hidden.data.chunks[:-2], (len(REDUCED),), hidden.data.chunks[-1]),
        meta=np.empty((0,) * hidden.ndim),
    )


def _reduce(values: np.ndarray, *masks: np.ndarray) -> np.ndarray:
    """``values [..., token, channel]``, a mask ``[..., token, 1]`` if any -> ``[..., statistic, channel]``."""
    return reduce_tokens(values, *(mask[..., 0] for mask in masks))


def chunked(hidden: xr.DataArray) -> xr.DataArray:
    """Dask chunks with all tokens of a few blocks, so that memory follows the chunk, not the store."""
    if hidden.chunks is not None:
        whole = len(hidden.variable.chunksizes["token"]) == 1
        return hidden if whole else hidden.chunk({"token": -1})
    budget = max(1, _CHUNK_BYTES // (hidden.dtype.itemsize * hidden.sizes["token"] * hidden.sizes["channel"]))
    sizes: dict[str, int] = {"token": -1, "channel": -1}
    for dim in reversed([str(name) for name in hidden.dims if name not in sizes]):
        sizes[dim] = min(hidden.sizes[dim], budget)
        budget = max(1, budget // max(1, sizes[dim]))
    return hidden.chunk(sizes)
