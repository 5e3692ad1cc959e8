"""A strength of an edit: one number, or a schedule over the noise level."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from ditscope.checks import finite_number
from ditscope.errors import InputError

Strength: TypeAlias = float | tuple[tuple[float, float], ...]
"""A number, or pairs (sigma, number) in increasing order of sigma."""


def strength(what: str, value: Any) -> Strength:
    """A number, or a schedule in its one form.

    Args:
        what: the argument's name.
        value: a number; pairs (sigma, number), or a DataArray ``[sigma]``.

    Raises:
        InputError: it is neither, or has a number that is not finite.
    """
    if isinstance(value, xr.DataArray) and value.dims == ("sigma",) and "sigma" in value.indexes:
        value = list(zip(value["sigma"].values.tolist(), value.values.tolist(), strict=True))
    if not isinstance(value, list | tuple):
        return finite_number(what, value)
    pairs = [tuple(pair) if isinstance(pair, Iterable) else (pair,) for pair in value]
    if not pairs or {len(pair) for pair in pairs} != {2} or len({pair[0] for pair in pairs}) < len(pairs):
        raise InputError(
            f"{what}={value!r}",
            "a finite number, pairs (sigma, number) with each sigma once, or a DataArray [sigma]",
            f"Pass {what}=[(0.0, 1.0), (1.0, 0.5)], say.",
        )
    return tuple(
        sorted((finite_number("sigma", sigma), finite_number(what, number)) for sigma, number in pairs)
    )


def strength_at(value: Strength, sigma: float) -> float:
    """The strength at a noise level: between those of a schedule linearly, beyond its ends as at them."""
    if isinstance(value, float):
        return value
    levels, numbers = np.array(value).T
    return float(np.interp(sigma, levels, numbers))
