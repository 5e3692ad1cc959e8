"""Share of an image's spectral energy in a band of frequencies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics._images import LUMA, as_unit
from ditscope.metrics.metric import metric

__all__ = ["band_energy"]


@metric("energy share in a band of frequencies", damage="either")
def band_energy(images: Any, *, low: float = 0.0, high: float = 0.0625) -> np.ndarray:
    """Share of the luminance's spectral energy at radial frequencies above ``low`` and up to ``high``.

    The mean is removed and a Hann window applied, so that neither brightness nor the jump between
    opposite edges counts as structure. Bands that follow each other add up to 1, the last with ``high=1``. In a
    comparison: ``ds.metrics.METRICS["band_energy"].with_options(low=0.0625, high=0.25)``.

    Args:
        images: ``[..., y, x, rgb]``, uint8 or floats from 0 to 1.
        low: in cycles per pixel; 0.5 is Nyquist along an axis, 0.71 along the diagonal.
        high: in cycles per pixel.

    Returns:
        float64 ``[...]``, 0 to 1; 0 for an image of one colour.

    Raises:
        InputError: there is no such band.

    Examples:
        >>> ds.metrics.band_energy(cache.images, low=0.0625, high=0.25).shape
        (4,)
        >>> middle = ds.metrics.METRICS["band_energy"].with_options(low=0.0625, high=0.25)  # for ds.compare
    """
    if not 0 <= low < high or low >= 0.5:
        raise InputError(
            f"low={low} and high={high}",
            "0 <= low < high, and low under 0.5 cycles per pixel",
            "Use 0 and 0.25.",
        )
    values = as_unit(images) @ LUMA
    rows, columns = values.shape[-2:]
    window = np.outer(_hann(rows), _hann(columns))
    centred = values - (values * window).sum((-2, -1), keepdims=True) / window.sum()
    power = abs(np.fft.fft2(centred * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    inside = (radius > low) & (radius <= high)
    total = power.sum((-2, -1))
    # Rounding leaves a trace of energy in a flat image, whose share would mean nothing.
    flat = np.ptp(values, axis=(-2, -1)) < 1e-9
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, 0.0, power[..., inside].sum(-1) / total)


def _hann(length: int) -> np.ndarray:
    return np.hanning(length + 2)[1:-1]  # without the two zeros, so that small images keep their edges
