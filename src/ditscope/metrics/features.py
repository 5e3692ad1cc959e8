"""Perceptual distances from a network's features.

The learned weights of LPIPS (Zhang et al. 2018) are not ours to ship. :func:`feature_distance` has its
form, unweighted, for any network: the user's own, or the layers of the CLIP that scores text and image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ditscope.errors import InputError

Features: TypeAlias = Callable[[np.ndarray], np.ndarray | Sequence[np.ndarray]]
"""From images uint8 ``[image, y, x, rgb]`` to feature maps ``[image, channel, y, x]`` or vectors
``[image, channel]``, of one layer or a list of layers."""


class ImageEncoder(Protocol):
    """What :func:`clip_image_distance` uses of a scorer."""

    def image_features(self, images: Any) -> np.ndarray:
        """Unit vectors ``[image, feature]``."""


def feature_distance(images: Any, reference: Any, features: Features, *, batch: int = 16) -> np.ndarray:
    """LPIPS without learned weights (Zhang et al. 2018, equation 1 with w = 1).

    Features are scaled to unit length over channels at each place, squared differences are summed over
    channels, averaged over places and summed over layers.

    Args:
        images: uint8 ``[image, y, x, rgb]``.
        reference: the paired images.
        features: a network, see :data:`Features`.
        batch: pairs per call of the network.

    Returns:
        ``[image]``: 0 for equal features, at most 4 per layer. Not comparable with published LPIPS.
    """
    images, reference = np.asarray(images), np.asarray(reference)
    if images.ndim != 4 or images.shape != reference.shape:
        raise InputError(
            f"images {images.shape} and reference {reference.shape}",
            "two arrays [image, y, x, rgb]",
            "Pair them.",
        )
    found = np.zeros(len(images))
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        one, other = _layers(features(images[part])), _layers(features(reference[part]))
        for a, b in zip(one, other, strict=True):
            found[part] += ((_unit(a) - _unit(b)) ** 2).sum(1).reshape(len(a), -1).mean(1)
    return found


def clip_image_distance(images: Any, reference: Any, scorer: ImageEncoder) -> np.ndarray:
    """``1 - cosine`` of the CLIP image features of paired images, ``[image]``, 0 to 2."""
    one, other = scorer.image_features(images), scorer.image_features(reference)
    if one.shape != other.shape:
        raise InputError(
            f"{len(one)} images and {len(other)} reference images", "as many of each", "Pair them."
        )
    return 1 - (one.astype(np.float64) * other).sum(-1)


def _layers(found: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    listed = list(found) if isinstance(found, (list, tuple)) else [found]
    return [np.asarray(layer, dtype=np.float64) for layer in listed]


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-10)
