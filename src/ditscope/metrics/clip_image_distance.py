"""Distance of two images, by CLIP."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import metric

__all__ = ["clip_image_distance"]


@metric("CLIP image distance (1 - cos)", damage="higher")
def clip_image_distance(images: Any, reference: Any, scorer: ClipScorer) -> np.ndarray:
    """``1 - cos`` of the CLIP features of paired images ``[image, y, x, rgb]``: ``[image]``, 0 to 2.

    Examples:
        >>> clip = ds.metrics.ClipScorer.from_pretrained("shapes")  # or a folder, or a hub id
        >>> ds.metrics.clip_image_distance(result["images"].sel(edit="massive", draw=0), cache.images, clip).shape
        (4,)
    """
    one, other = scorer.image_features(images), scorer.image_features(reference)
    if one.shape != other.shape:
        raise InputError(
            f"{len(one)} images and {len(other)} reference images", "as many of each", "Pair them."
        )
    return 1 - (one.astype(np.float64) * other).sum(-1)
