"""Share of an image's spectral energy in fine detail."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics._images import LUMA, as_unit
from ditscope.metrics.metric import metric

__all__ = ["high_frequency_energy"]


@metric("energy share over 0.25 c/px", damage="either")
def high_frequency_energy(images: Any, *, cutoff: float = 0.25) -> np.ndarray:
    """Share of the luminance's spectral energy above a radial frequency.

    The mean is removed and a Hann window applied, so that neither brightness nor the jump between
    opposite edges counts as structure.

    Args:
        images: ``[..., y, x, rgb]``, uint8 or floats from 0 to 1.
        cutoff: in cycles per pixel, 0 to 0.5 (Nyquist along an axis).

    Returns:
        float64 ``[...]``, 0 to 1; 0 for an image of one colour.
    """
    if not 0 < cutoff < 0.5:
        raise InputError(f"cutoff={cutoff}", "0 to 0.5 cycles per pixel, both left out", "Use 0.25.")
    values = as_unit(images) @ LUMA
    rows, columns = values.shape[-2:]
    window = np.outer(_hann(rows), _hann(columns))
    centred = values - (values * window).sum((-2, -1), keepdims=True) / window.sum()
    power = abs(np.fft.fft2(centred * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    total = power.sum((-2, -1))
    # Rounding leaves a trace of energy in a flat image, whose share would mean nothing.
    flat = np.ptp(values, axis=(-2, -1)) < 1e-9
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, 0.0, power[..., radius > cutoff].sum(-1) / total)


def _hann(length: int) -> np.ndarray:
    return np.hanning(length + 2)[1:-1]  # without the two zeros, so that small images keep their edges
