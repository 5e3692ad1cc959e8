"""What the metrics of images share: values from 0 to 1, pairs of one size, luminance."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.errors import InputError

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of the colours, ITU-R BT.601."""


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


def as_pair(images: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images and their reference as float64 from 0 to 1, broadcast against each other.

    Raises:
        InputError: they are no images, or not of one size and number.
    """
    images, reference = as_unit(images), as_unit(reference, what="reference images")
    if images.shape[-3:] == reference.shape[-3:]:
        try:
            images, reference = np.broadcast_arrays(images, reference)
            return images, reference
        except ValueError:
            pass
    raise InputError(
        f"images {images.shape} and reference {reference.shape}",
        "images of one size and number",
        "Pair them.",
    )


def stacked(images: Any) -> np.ndarray:
    """Images as an array ``[image, y, x, rgb]``.

    Raises:
        InputError: it has other dimensions.
    """
    array = np.asarray(images)
    if array.ndim != 4:
        raise InputError(f"images of shape {array.shape}", "[image, y, x, rgb]", "Stack them.")
    return array
