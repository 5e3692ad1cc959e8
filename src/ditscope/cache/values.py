"""Checks of the values that come into a store. Nothing is cast silently; shapes are those of the schema."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.cache.layout import STATISTICS, ArrayPlan
from ditscope.errors import InputError

Array = np.ndarray[Any, Any]


def hidden_states(plan: ArrayPlan, value: Any, n_rows: int, *, may_be_short: bool) -> Array:
    """Hidden states ``[row, token, channel]`` in the stored dtype, perhaps with fewer tokens, or ``[row, channel]``."""
    array = np.asarray(value)
    if array.dtype != plan.numpy_dtype:
        raise InputError(
            f"dtype {array.dtype} for {plan.path}",
            str(plan.numpy_dtype),
            "Pass the model's own values; the store never casts.",
        )
    shape, dims = (n_rows, *plan.shape[1 + plan.n_indexed :]), plan.dims[1 + plan.n_indexed :]
    short = may_be_short and array.ndim == len(shape) == 3 and 0 < array.shape[1] < shape[1]
    if array.shape != ((n_rows, array.shape[1], shape[2]) if short else shape):
        raise InputError(
            f"shape {array.shape} for {plan.path}",
            f"[row, {', '.join(dims)}] of {shape}",
            "Pass a row for each sample, with the recorded channels only.",
        )
    return array


def statistics(value: Any, n_rows: int, n_channels: int) -> Array:
    """Statistics ``[row, statistic, channel]`` in float32."""
    array = np.asarray(value)
    shape = (n_rows, len(STATISTICS), n_channels)
    if array.shape != shape or array.dtype != np.float32:
        raise InputError(
            f"statistics of dtype {array.dtype} and shape {array.shape}",
            f"float32 [row, statistic, channel] of {shape}, with {', '.join(STATISTICS)}",
            "Reduce over tokens and keep the recorded channels.",
        )
    return array


def token_masks(plan: ArrayPlan | None, stream: str, value: Any, n_rows: int) -> tuple[ArrayPlan, Array]:
    """Masks ``[row, token]`` of a stream that has masks, perhaps with fewer tokens."""
    if plan is None:
        raise InputError(
            f"a token mask for stream {stream!r}", "a stream without a grid", "All grid tokens are real."
        )
    mask = np.asarray(value)
    fits = mask.ndim == 2 and len(mask) == n_rows and 0 < mask.shape[1] <= plan.shape[-1]
    if mask.dtype != bool or not fits:
        raise InputError(
            f"mask of dtype {mask.dtype} and shape {mask.shape}",
            f"bool [row, token] of {n_rows} rows and at most {plan.shape[-1]} tokens",
            "Pass the masks of one branch, a row for each sample.",
        )
    return plan, mask


def whole(plan: ArrayPlan | None, path: str, value: Any) -> tuple[ArrayPlan, Array]:
    """All of a sample's values of an array, in the stored dtype."""
    if plan is None:
        raise InputError(f"{path} for a store without", "a schema that has it", "Set it in the schema.")
    array = np.asarray(value)
    if array.shape != plan.shape[1:] or array.dtype != plan.numpy_dtype:
        raise InputError(
            f"{array.dtype} of shape {array.shape} for {path}",
            f"{plan.dtype} of shape {plan.shape[1:]} ({', '.join(plan.dims[1:])})",
            "Pass the sample's whole array.",
        )
    return plan, array
