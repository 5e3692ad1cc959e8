"""What the dtypes of hidden states can hold: their largest value, and the steps in which they count.

In float16 several transformers are clipped at the dtype's largest value, and what is clipped there says only that it
was at least as large. In bfloat16 a channel near 3,000 moves in steps of 16.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

DTYPES = ("float32", "bfloat16", "float16")
"""Dtypes that hidden states may have in a store."""


def limit(dtype: str) -> float:
    """The largest value of a dtype: 65504 of float16."""
    return float(ml_dtypes.finfo(dtype).max)


def at_limit(values: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Where values are the largest, or the smallest, that a dtype has; infinity is not among them.

    Args:
        values: of that dtype, or cast from it to another.
        dtype: the dtype that they were computed in.
    """
    # By bits, all but the sign's: bfloat16 has no fast arithmetic in numpy.
    bits = np.dtype(f"u{values.dtype.itemsize}")
    unsigned = values.view(bits) & bits.type(np.iinfo(bits).max >> 1)
    most = min(limit(dtype), limit(str(values.dtype)))
    return unsigned == np.array(most, dtype=values.dtype).view(bits)


def spacing(magnitudes: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Distance from a magnitude to the next larger value of a dtype, float64; NaN where it is not finite."""
    kind = ml_dtypes.finfo(dtype)
    # Below the smallest normal number the steps stay as they are.
    sizes = np.maximum(np.asarray(magnitudes, dtype=np.float64), float(kind.smallest_normal))
    _, exponent = np.frexp(sizes)  # a half to one, times two to that
    return np.where(np.isfinite(sizes), np.ldexp(1.0, exponent - 1 - kind.nmant), np.nan)


def may_be_extreme(bits: np.ndarray[Any, Any], dtype: str) -> bool:
    """Whether some value is NaN, infinite, or at the limit of its dtype.

    Args:
        bits: the values' bits, unsigned ``[value]``.
        dtype: what they are of.
    """
    kind = np.iinfo(bits.dtype)
    # The largest number without a sign is the largest negative value; with one, the largest positive.
    largest = max(int(bits.max()) & (kind.max >> 1), int(bits.view(f"i{bits.itemsize}").max()))
    # Infinity and NaN follow upon the largest finite number.
    return largest >= int(np.array(limit(dtype), _NUMPY[dtype]).view(bits.dtype))


_NUMPY = {name: ml_dtypes.finfo(name).dtype for name in DTYPES}
