"""Share of an image's spectral energy in fine detail."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics.band_energy import band_energy
from ditscope.metrics.metric import metric

__all__ = ["high_frequency_energy"]


@metric("energy share (over 0.25 c/px)", damage="either")
def high_frequency_energy(images: Any, *, cutoff: float = 0.25) -> np.ndarray:
    """:func:`band_energy` of everything above a radial frequency.

    Args:
        images: ``[..., y, x, rgb]``, uint8 or floats from 0 to 1.
        cutoff: in cycles per pixel, 0 to 0.5 (Nyquist along an axis).

    Returns:
        float64 ``[...]``, 0 to 1; 0 for an image of one colour.

    Examples:
        >>> ds.metrics.high_frequency_energy(cache.images).shape
        (4,)
    """
    if not 0 < cutoff < 0.5:
        raise InputError(f"cutoff={cutoff}", "0 to 0.5 cycles per pixel, both left out", "Use 0.25.")
    return band_energy(images, low=cutoff, high=1.0)
