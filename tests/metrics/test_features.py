from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope import metrics
from ditscope.errors import InputError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
OTHERS = RANDOM.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
WEIGHTS = [RANDOM.normal(size=(3, width)) for width in (4, 6)]


def features(images):
    return [np.moveaxis(images / 255 @ weight, -1, 1) for weight in WEIGHTS]


def test_equals_lpips_without_weights():
    found = metrics.feature_distance(IMAGES, OTHERS, features, batch=2)
    expected = torch.zeros(5, dtype=torch.float64)
    for a, b in zip(features(IMAGES), features(OTHERS), strict=True):
        a, b = (torch.nn.functional.normalize(torch.from_numpy(x), dim=1) for x in (a, b))
        expected += ((a - b) ** 2).sum(1).mean((1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (metrics.feature_distance(IMAGES, IMAGES, features) == 0).all()


def test_vectors_are_features_too():
    found = metrics.feature_distance(IMAGES, OTHERS, lambda x: x.reshape(len(x), -1).astype(float))
    a, b = (x.reshape(5, -1).astype(float) for x in (IMAGES, OTHERS))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(found, 2 - 2 * cosine)


def test_pairs_must_fit():
    with pytest.raises(InputError, match="reference"):
        metrics.feature_distance(IMAGES, OTHERS[:2], features)
