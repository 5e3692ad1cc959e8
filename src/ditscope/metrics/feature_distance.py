"""Perceptual distance from any network's features, in the form of LPIPS, without its learned weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics._images import stacked
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import metric

__all__ = ["feature_distance"]

Features: TypeAlias = Callable[[np.ndarray], np.ndarray | Sequence[np.ndarray]]
"""From images uint8 ``[image, y, x, rgb]`` to feature maps ``[image, channel, y, x]`` or vectors
``[image, channel]``, of one layer or a list of layers."""


def feature_distance(images: Any, reference: Any, features: Features, *, batch_size: int = 16) -> np.ndarray:
    """LPIPS without learned weights (Zhang et al. 2018, equation 1 with w = 1).

    Features are scaled to unit length over channels at each position, squared differences are summed over
    channels, averaged over positions and summed over layers. In a comparison, the metric of this name takes
    CLIP's patch features.

    Args:
        images: uint8 ``[image, y, x, rgb]``.
        reference: the paired images.
        features: a network, see :data:`Features`.
        batch_size: pairs in each call of the network.

    Returns:
        float64 ``[image]``: 0 for equal features, at most 4 for each layer. Not comparable with published LPIPS.

    Examples:
        >>> images, edited = cache.images, result["images"].sel(edit="massive", draw=0)
        >>> ds.metrics.feature_distance(edited, images, lambda batch: batch.transpose(0, 3, 1, 2) / 255).shape
        (4,)
    """
    images, reference = stacked(images), np.asarray(reference)
    if images.shape != reference.shape:
        raise InputError(
            f"images {images.shape} and reference {reference.shape}", "arrays of one shape", "Pair them."
        )
    distances = np.zeros(len(images))
    for start in range(0, len(images), checks.whole_number("batch_size", batch_size)):
        part = slice(start, start + batch_size)
        one, other = _layers(features(images[part])), _layers(features(reference[part]))
        for a, b in zip(one, other, strict=True):
            distances[part] += ((_unit(a) - _unit(b)) ** 2).sum(1).reshape(len(a), -1).mean(1)
    return distances


@metric("feature distance (CLIP patches, unweighted)", damage="higher", name="feature_distance")
def _of_clip_patches(images: Any, reference: Any, scorer: ClipScorer) -> np.ndarray:
    return feature_distance(images, reference, scorer.feature_maps)


def _layers(features: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    listed = list(features) if isinstance(features, list | tuple) else [features]
    return [np.asarray(layer, dtype=np.float64) for layer in listed]


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-10)
