"""Mean absolute difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.metrics._images import as_pair
from ditscope.metrics.metric import metric

__all__ = ["mean_abs_difference"]


@metric("mean absolute difference", damage="higher")
def mean_abs_difference(images: Any, reference: Any) -> np.ndarray:
    """Mean absolute difference over pixels and colours, 0 to 1.

    Args:
        images: ``[..., y, x, rgb]``, uint8 or floats from 0 to 1.
        reference: images of the same size, broadcast over the leading dimensions.

    Returns:
        float64 ``[...]``.

    Examples:
        >>> ds.metrics.mean_abs_difference(result["images"].sel(edit="massive", draw=0), cache.images).shape
        (4,)
    """
    images, reference = as_pair(images, reference)
    return abs(images - reference).mean((-3, -2, -1))
