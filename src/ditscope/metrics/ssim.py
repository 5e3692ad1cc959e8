"""Structural similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics._images import LUMA, as_pair
from ditscope.metrics.metric import metric

__all__ = ["ssim", "ssim_luminance"]

_RADIUS = 5
_WINDOW = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / 1.5) ** 2)
_WINDOW /= _WINDOW.sum()
_C1, _C2 = 0.01**2, 0.03**2


@metric("SSIM (RGB)", damage="lower")
def ssim(images: Any, reference: Any, *, space: str = "rgb") -> np.ndarray:
    """Structural similarity with a Gaussian window (Wang, Bovik, Sheikh & Simoncelli 2004).

    An 11-pixel window of sigma 1.5, K1 = 0.01, K2 = 0.03, population moments, averaged over the
    positions where the window fits. Published figures differ by several points with the colour space,
    so it is named: ``rgb`` averages over the three colours, ``luminance`` uses BT.601 luma.

    Args:
        images: ``[..., y, x, rgb]``, uint8 or floats from 0 to 1, at least 11 pixels each way.
        reference: images of the same size, broadcast over the leading dimensions.
        space: ``rgb`` or ``luminance``.

    Returns:
        float64 ``[...]``; 1 for equal images.

    Examples:
        >>> ds.metrics.ssim(cache.images, cache.images).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    weights = {"rgb": np.eye(3), "luminance": LUMA[:, None]}[
        checks.name_of("space", space, ("rgb", "luminance"))
    ]
    images, reference = as_pair(images, reference)
    if min(images.shape[-3:-1]) < 2 * _RADIUS + 1:
        raise InputError(
            f"images of {images.shape[-3]} x {images.shape[-2]} pixels",
            f"at least {2 * _RADIUS + 1} each way",
            "SSIM needs room for its window.",
        )
    # One image at a time: the windowed moments take ten times an image's memory.
    return np.array(
        [_ssim(images[at] @ weights, reference[at] @ weights) for at in np.ndindex(images.shape[:-3])]
    ).reshape(images.shape[:-3])


@metric("SSIM (luminance)", damage="lower")
def ssim_luminance(images: Any, reference: Any) -> np.ndarray:
    """:func:`ssim` of BT.601 luma.

    Examples:
        >>> ds.metrics.ssim_luminance(cache.images, cache.images).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    return ssim(images, reference, space="luminance")


def _ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """``[y, x, colour]`` both."""

    def local(values: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            values = correlate1d(values, _WINDOW, axis=axis)
        return values[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]

    mean, mean_reference = local(image), local(reference)
    variance = local(image**2) - mean**2
    variance_reference = local(reference**2) - mean_reference**2
    covariance = local(image * reference) - mean * mean_reference
    luminance_term = (2 * mean * mean_reference + _C1) / (mean**2 + mean_reference**2 + _C1)
    structure_term = (2 * covariance + _C2) / (variance + variance_reference + _C2)
    return float((luminance_term * structure_term).mean())
