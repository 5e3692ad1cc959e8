"""Image metrics over arrays ``[..., y, x, rgb]``: uint8, or floats from 0 to 1.

Every function returns one float64 number per image, ``[...]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d

from ditscope.errors import InputError, unknown_name

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_SIGMA, _RADIUS = 1.5, 5  # Wang et al. 2004: an 11-pixel Gaussian window
_K1, _K2 = 0.01, 0.03


def as_unit(images: Any, *, what: str = "images") -> np.ndarray:
    """Images as float64 from 0 to 1.

    Raises:
        InputError: for another shape than ``[..., y, x, rgb]``, or floats outside 0 to 1 (values from
            -1 to 1 and floats from 0 to 255 are the usual mistakes).
    """
    array = np.asarray(images)
    if array.ndim < 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(f"{what} of shape {array.shape}", "[..., y, x, rgb]", "Put the colours last.")
    if array.dtype == np.uint8:
        return array / 255.0
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{what} of {array.dtype}", "uint8, or floats from 0 to 1", "Convert them.")
    wide = array.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise InputError(
            f"{what} with values from {low:.3g} to {high:.3g}",
            "floats from 0 to 1",
            "Rescale, or pass uint8.",
        )
    return np.clip(wide, 0, 1)


def luminance(images: Any) -> np.ndarray:
    """BT.601 luma of images ``[..., y, x, rgb]``: ``[..., y, x]``, 0 to 1."""
    return as_unit(images) @ _LUMA


def psnr(images: Any, reference: Any) -> np.ndarray:
    """Peak signal-to-noise ratio over all pixels and colours, in dB; infinite for equal images.

    Args:
        images: ``[..., y, x, rgb]``.
        reference: images of the same size, broadcast over the leading dimensions.
    """
    images, reference = _pair(images, reference)
    with np.errstate(divide="ignore"):
        return -10 * np.log10(((images - reference) ** 2).mean((-3, -2, -1)))


def mean_abs_difference(images: Any, reference: Any) -> np.ndarray:
    """Mean absolute difference over pixels and colours, 0 to 1."""
    images, reference = _pair(images, reference)
    return abs(images - reference).mean((-3, -2, -1))


def ssim(images: Any, reference: Any, *, space: str = "rgb") -> np.ndarray:
    """Structural similarity with a Gaussian window (Wang, Bovik, Sheikh & Simoncelli 2004).

    An 11-pixel window of sigma 1.5, K1 = 0.01, K2 = 0.03, population moments, averaged over the
    positions where the window fits. Published figures differ by several points with the colour space,
    so it is named: ``rgb`` averages over the three colours, ``luminance`` uses BT.601 luma.

    Args:
        images: ``[..., y, x, rgb]``, at least 11 pixels each way.
        reference: images of the same size, broadcast over the leading dimensions.
        space: ``rgb`` or ``luminance``.

    Returns:
        1 for equal images.
    """
    if space not in ("rgb", "luminance"):
        raise unknown_name("space", space, ("rgb", "luminance"))
    images, reference = np.broadcast_arrays(*_pair(images, reference))
    if min(images.shape[-3:-1]) < 2 * _RADIUS + 1:
        raise InputError(
            f"images of {images.shape[-3]} x {images.shape[-2]} pixels",
            f"at least {2 * _RADIUS + 1} each way",
            "SSIM needs room for its window.",
        )
    lead = images.shape[:-3]
    pairs = zip(
        images.reshape(-1, *images.shape[-3:]), reference.reshape(-1, *images.shape[-3:]), strict=True
    )
    # One image at a time: the windowed moments take ten times an image's memory.
    return np.array(
        [_ssim(*(one @ _LUMA[:, None] if space == "luminance" else one for one in pair)) for pair in pairs]
    ).reshape(lead)


def high_frequency_energy(images: Any, *, cutoff: float = 0.25) -> np.ndarray:
    """Share of the luminance's spectral energy above a radial frequency.

    The mean is removed and a Hann window applied, so that neither brightness nor the jump between
    opposite edges counts as structure.

    Args:
        images: ``[..., y, x, rgb]``.
        cutoff: in cycles per pixel, 0 to 0.5 (Nyquist along an axis).

    Returns:
        0 to 1; 0 for an image of one colour.
    """
    if not 0 < cutoff < 0.5:
        raise InputError(f"cutoff={cutoff}", "0 to 0.5 cycles per pixel, both left out", "Use 0.25.")
    values = luminance(images)
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


def _pair(images: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    images, reference = as_unit(images), as_unit(reference, what="reference images")
    try:
        shape = np.broadcast_shapes(images.shape, reference.shape)
    except ValueError:
        shape = None
    if shape is None or images.shape[-3:] != reference.shape[-3:]:
        raise InputError(
            f"images {images.shape} and reference {reference.shape}",
            "images of one size and number",
            "Pair them.",
        )
    return images, reference


def _ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """``[y, x, colour]`` both."""

    def local(values: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            values = correlate1d(values, _GAUSSIAN, axis=axis)
        return values[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]

    c1, c2 = _K1**2, _K2**2
    mean, mean_reference = local(image), local(reference)
    variance = local(image**2) - mean**2
    variance_reference = local(reference**2) - mean_reference**2
    covariance = local(image * reference) - mean * mean_reference
    luminance_term = (2 * mean * mean_reference + c1) / (mean**2 + mean_reference**2 + c1)
    structure_term = (2 * covariance + c2) / (variance + variance_reference + c2)
    return float((luminance_term * structure_term).mean())


def _hann(length: int) -> np.ndarray:
    return np.hanning(length + 2)[1:-1]  # without the two zeros, so that small images keep their edges


def _gaussian() -> np.ndarray:
    window = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    return window / window.sum()


_GAUSSIAN = _gaussian()
