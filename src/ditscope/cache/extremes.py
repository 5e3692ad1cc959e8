"""NaN, infinite and saturated values of hidden states that come without statistics, counted in a file's chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ditscope.cache.layout import ArrayPlan
from ditscope.cache.shard_encoding import FileForm
from ditscope.precision import at_limit, may_be_extreme


@dataclass(frozen=True)
class Extremes:
    """What a chunk has of them.

    Attributes:
        block: position of its block along the array's axis.
        first_channel: position of its first channel.
        nonfinite: how many NaN and infinite values.
        saturated: int ``[channel]``, how many at the limit of the dtype.
    """

    block: int
    first_channel: int
    nonfinite: int
    saturated: np.ndarray[Any, Any]


def extremes(
    plan: ArrayPlan, shard: tuple[int, ...], form: FileForm, data: np.ndarray[Any, Any], number: int
) -> Extremes | None:
    """Count them in a chunk of a file of hidden states; None if it has none. Padding of text counts as NaN."""
    bits = form.chunk_of(data, number).view(form.dtype)
    if not may_be_extreme(bits, plan.dtype):
        return None
    block_axis, channel_axis = plan.dims.index("block"), plan.dims.index("channel")
    at = np.unravel_index(number, form.grid)
    block = shard[block_axis] * plan.shard[block_axis] + int(at[block_axis]) * plan.chunk[block_axis]
    channel = int(at[channel_axis]) * plan.chunk[channel_axis]
    values = bits.view(plan.numpy_dtype).reshape(-1, plan.chunk[channel_axis])
    values = values[:, : plan.shape[channel_axis] - channel]
    return Extremes(
        block, channel, int((~np.isfinite(values)).sum()), at_limit(values, plan.dtype).sum(axis=0)
    )
