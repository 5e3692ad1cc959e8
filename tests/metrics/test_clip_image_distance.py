from __future__ import annotations

import numpy as np
import pytest

from ditscope import metrics
from ditscope.errors import InputError


def test_one_minus_the_cosine_of_the_features(scorer, images):
    moved = np.roll(images, 1, axis=0)
    cosine = (scorer.image_features(images) * scorer.image_features(moved)).sum(1)
    np.testing.assert_allclose(metrics.clip_image_distance(images, moved, scorer), 1 - cosine, atol=1e-6)
    np.testing.assert_allclose(metrics.clip_image_distance(images, images, scorer), 0, atol=1e-6)


def test_pairs_must_fit(scorer, images):
    with pytest.raises(InputError, match="2 reference"):
        metrics.clip_image_distance(images, images[:2], scorer)
