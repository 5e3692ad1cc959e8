"""Checks of the values that come into a store. Nothing is cast silently; shapes are those of the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ditscope.cache.layout import STATISTICS, ArrayPlan
from ditscope.errors import InputError

Array = np.ndarray[Any, Any]


def hidden_state(plan: ArrayPlan, value: Any, *, may_be_short: bool) -> Array:
    """A hidden state ``[token, channel]`` in the stored dtype, perhaps with fewer tokens, or ``[channel]``."""
    array = np.asarray(value)
    if array.dtype != plan.numpy_dtype:
        raise InputError(
            f"dtype {array.dtype} for {plan.path}",
            str(plan.numpy_dtype),
            "Pass the model's own values; the store never casts.",
        )
    payload, dims = plan.shape[1 + plan.cell :], plan.dims[1 + plan.cell :]
    short = may_be_short and array.ndim == len(payload) == 2 and 0 < array.shape[0] < payload[0]
    if array.shape != ((array.shape[0], *payload[1:]) if short else payload):
        raise InputError(
            f"shape {array.shape} for {plan.path}",
            f"[{', '.join(dims)}] of {payload}",
            "Pass one sample's tokens and the recorded channels only.",
        )
    return array


def statistics(plans: Mapping[str, ArrayPlan], folder: str, values: Mapping[str, Any]) -> dict[str, Array]:
    """All statistics of a cell, by the path of their array below ``folder``."""
    names = (*STATISTICS, "count")
    if set(values) != set(names):
        raise InputError(f"statistics {', '.join(sorted(values))}", ", ".join(names), "Pass exactly these.")
    ready = {}
    for name in names:
        plan = plans[f"{folder}/{name}"]
        array = np.asarray(values[name])
        if array.shape != plan.shape[4:] or (plan.dtype == "int32" and array.dtype.kind not in "iu"):
            raise InputError(
                f"{name} of dtype {array.dtype} and shape {array.shape}",
                f"{plan.dtype} of shape {plan.shape[4:]}",
                "Reduce over tokens and keep the recorded channels.",
            )
        ready[plan.path] = array.astype(plan.numpy_dtype)
    return ready


def token_mask(plan: ArrayPlan | None, stream: str, value: Any) -> tuple[ArrayPlan, Array]:
    """A mask ``[token]`` of a stream that has masks, perhaps with fewer tokens."""
    if plan is None:
        raise InputError(
            f"a token mask for stream {stream!r}", "a stream without a grid", "All grid tokens are real."
        )
    mask = np.asarray(value)
    if mask.dtype != bool or mask.ndim != 1 or not 0 < len(mask) <= plan.shape[-1]:
        raise InputError(
            f"mask of dtype {mask.dtype} and shape {mask.shape}",
            f"bool [token] of at most {plan.shape[-1]}",
            "Pass one sample's mask in one branch.",
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
