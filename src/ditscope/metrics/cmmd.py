"""How far the images of an edit, as a set, are from the baseline's, by CLIP and a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import METRICS, metric

__all__ = ["cmmd", "maximum_mean_discrepancy"]

_SIGMA, _SCALE = 10.0, 1000.0  # of Jayasumana et al. 2024, section 4


def maximum_mean_discrepancy(features: np.ndarray, reference: np.ndarray) -> float:
    """1000 times the squared maximum mean discrepancy, with a Gaussian kernel of bandwidth 10.

    As published, it is the mean over all pairs, a feature with itself among them (Gretton et al. 2012, equation 5): it
    is never negative, and 0 for equal sets. Of two sets of n images from one distribution it is not 0 but about
    ``2000 (1 - k) / n``, where k is the mean kernel of two images, so only sets of one size are compared.

    Args:
        features: ``[image, feature]``.
        reference: the other set's.

    Examples:
        >>> features = np.eye(4)
        >>> abs(ds.metrics.maximum_mean_discrepancy(features, features)) < 1e-6
        True
    """
    one, other = (np.asarray(each, dtype=np.float64) for each in (features, reference))
    return _SCALE * (_kernel(one, one) + _kernel(other, other) - 2 * _kernel(one, other))


def _kernel(one: np.ndarray, other: np.ndarray) -> float:
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return float(np.exp(-squares / (2 * _SIGMA**2)).mean())


@metric("CMMD", damage="higher", name="cmmd", distance=maximum_mean_discrepancy, least=50)
def _features(images: Any, scorer: ClipScorer) -> np.ndarray:
    return scorer.image_features(images)


def cmmd(images: Any, reference: Any, scorer: ClipScorer) -> float:
    """CMMD of two sets of images: :func:`maximum_mean_discrepancy` of CLIP's features (Jayasumana et al. 2024).

    Published figures are of ``openai/clip-vit-large-patch14-336``: pass ``clip=`` that to a comparison. There it is
    one number for the images of an edit beside the baseline's, of the samples in which it fired; fewer than 50 are
    refused, where what it is between sets of one distribution is as large as what is looked for.

    Args:
        images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1.
        reference: the other set; pairs and numbers of images need not fit.
        scorer: the CLIP.

    Raises:
        InputError: there are fewer than 50 images.

    Examples:
        >>> clip = ds.metrics.ClipScorer.from_pretrained("shapes")  # or a folder, or a hub id
        >>> images = np.zeros((50, 64, 64, 3), "uint8")
        >>> abs(ds.metrics.METRICS["cmmd"](images, reference=images, scorer=clip)) < 1e-3
        True
    """
    return METRICS["cmmd"](images, reference=reference, scorer=scorer)
