"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.metrics._images import as_pair
from ditscope.metrics.metric import metric

__all__ = ["psnr"]


@metric("PSNR", unit="dB", damage="lower")
def psnr(images: Any, reference: Any) -> np.ndarray:
    """Peak signal-to-noise ratio over all pixels and colours, in dB; infinite for equal images.

    Args:
        images: ``[..., y, x, rgb]``, uint8 or floats from 0 to 1.
        reference: images of the same size, broadcast over the leading dimensions.

    Returns:
        float64 ``[...]``.

    Examples:
        >>> ds.metrics.psnr(cache.images, cache.images).tolist()
        [inf, inf, inf, inf]
        >>> ds.metrics.psnr(result["images"], result["baseline_images"]).shape  # [edit, draw, sample]
        (3, 5, 4)
    """
    images, reference = as_pair(images, reference)
    with np.errstate(divide="ignore"):
        return -10 * np.log10(((images - reference) ** 2).mean((-3, -2, -1)))
