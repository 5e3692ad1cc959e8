"""Agreement of an image with its prompt, by CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import metric

__all__ = ["clip_score", "clip_score_hessel"]


@metric("CLIP score (100 cos)", damage="lower")
def clip_score(images: Any, prompts: Sequence[str], scorer: ClipScorer) -> np.ndarray:
    """``100 cos`` of the CLIP features of each image ``[image, y, x, rgb]`` and its prompt, ``[image]``.

    Examples:
        >>> clip = ds.metrics.ClipScorer.from_pretrained("shapes")  # or a folder, or a hub id
        >>> ds.metrics.clip_score(cache.images, prompts, clip).shape
        (4,)
        >>> result["effect"].sel(metric="clip_score").dims
        ('edit', 'draw', 'sample')
    """
    return scorer.score(images, prompts)


@metric("CLIPScore (2.5 max(cos, 0))", damage="lower")
def clip_score_hessel(images: Any, prompts: Sequence[str], scorer: ClipScorer) -> np.ndarray:
    """CLIPScore, ``2.5 max(cos, 0)`` (Hessel et al. 2021, section 3), ``[image]``.

    Examples:
        >>> clip = ds.metrics.ClipScorer.from_pretrained("shapes")  # or a folder, or a hub id
        >>> ds.metrics.clip_score_hessel(cache.images, prompts, clip).shape
        (4,)
    """
    return scorer.score(images, prompts, convention="hessel")
