"""The check of values that come into a store. Nothing is cast or cut silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ditscope.errors import InputError


def checked(
    what: str, value: Any, dtype: Any, lengths: Mapping[str, int], *, may_be_short: bool = False
) -> np.ndarray[Any, Any]:
    """A value as an array of one dtype and shape.

    Args:
        what: what the value is, for the error.
        value: the value.
        dtype: the dtype that it must have.
        lengths: length of each of its axes.
        may_be_short: whether the token axis may be shorter, though not empty.

    Raises:
        InputError: it has another dtype or shape.
    """
    array = np.asarray(value)
    shape = tuple(lengths.values())
    if array.shape == shape and array.dtype == dtype:  # as nearly always
        return array
    allowed = [range(1, n + 1) if may_be_short and dim == "token" else (n,) for dim, n in lengths.items()]
    fits = array.ndim == len(shape) and all(n in most for n, most in zip(array.shape, allowed, strict=True))
    if array.dtype != dtype or not fits:
        raise InputError(
            f"{array.dtype} of shape {array.shape} for {what}",
            f"{np.dtype(dtype)} [{', '.join(lengths)}] of {shape}",
            "Pass the model's own values, with a row for each sample where they come in rows.",
        )
    return array
