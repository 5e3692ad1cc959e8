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

import numpy as np
import xarray as xr
from tqdm.dask import TqdmCallback

from ditscope import checks
from ditscope.passes.mean_statistics import mean_statistics
from ditscope.passes.source import Source, hidden_states, limits, own_dtype
from ditscope.passes.token_statistics import chunked, token_statistics
from ditscope.vocabulary import HIDDEN_DIMS

__all__ = ["channel_statistics"]

OVER = ("sample", "step", "branch", "token")
"""Dimensions that a ranking reduces by default: it keeps one score per block and channel."""


def progress(label: str) -> AbstractContextManager[object]:
    """A bar over dask's tasks: silent when not on a terminal, and on short work."""
    return TqdmCallback(desc=label, disable=None, delay=2, leave=False)


def channel_statistics(
    source: Source,
    *,
    over: Iterable[str] = OVER,
    stream: str = "image",
    site: str = "block_output",
) -> xr.Dataset:
    """Every statistic of every channel, lazily.

    With ``token`` in ``over`` the statistic is taken over tokens first and then averaged over the
    other reduced dimensions (maximum for ``abs_max``); recorded statistics are used where they exist.
    Without ``token`` it is taken over the reduced dimensions directly, from tensors, for each token.

    Args:
        source: a cache, hidden states ``[..., token, channel]``, or recorded statistics.
        over: dimensions to reduce over.
        stream: ``image`` or ``text``.
        site: where in a block.

    Returns:
        One variable per name in :data:`ditscope.vocabulary.STATISTICS`; ``nonfinite``, the number of NaN and
        infinite values; and ``saturated``, the number of samples, steps, branches and blocks (without ``token``, of
        values) that were reduced and reach the limit of the dtype they were computed in: all ``[*kept, channel]``.
        Attribute ``dtype`` has that dtype, where it is known.

    Raises:
        InputError: for an unknown stream, site or dimension.

    Examples:
        >>> ds.passes.channel_statistics(cache, over=["sample", "branch", "token"])["std"].dims
        ('step', 'block', 'channel')
    """
    dims = checks.names_of("dimension to reduce over", over, HIDDEN_DIMS[:-1])
    if "token" in dims:
        stats = token_statistics(source, stream=stream, site=site)
        if "nonfinite" not in stats:
            stats = stats.assign(nonfinite=~np.isfinite(stats["mean_abs"]))
        kept = {name: stats.attrs[name] for name in ("dtype",) if name in stats.attrs}
        reduced = mean_statistics(stats, [dim for dim in dims if dim in stats["mean"].dims]).assign_attrs(
            kept
        )
    else:
        hidden = hidden_states(source, stream, site)
        reduced = _over_directly(hidden, dims).assign_attrs(dtype=own_dtype(hidden))
    return reduced.assign_attrs(stream=stream, site=site)


def _over_directly(hidden: xr.DataArray, dims: tuple[str, ...]) -> xr.Dataset:
    rest = [dim for dim in dims if dim in hidden.dims]
    wide = chunked(hidden).astype(np.result_type(hidden.dtype, np.float32)).astype(np.float64)
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
            "saturated": abs(values).isin(limits(own_dtype(hidden))).sum(rest),
        }
    )
