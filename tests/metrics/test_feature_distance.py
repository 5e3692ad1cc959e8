from __future__ import annotations

import numpy as np
import pytest
import torch
from pairs import IMAGES, OTHERS

from ditscope import metrics
from ditscope.errors import InputError

WEIGHTS = [np.random.default_rng(1).normal(size=(3, width)) for width in (4, 6)]


def features(images):
    return [np.moveaxis(images / 255 @ weight, -1, 1) for weight in WEIGHTS]


def test_equals_lpips_without_weights():
    distances = metrics.feature_distance(IMAGES, OTHERS, features, batch_size=2)
    expected = torch.zeros(len(IMAGES), dtype=torch.float64)
    for a, b in zip(features(IMAGES), features(OTHERS), strict=True):
        a, b = (torch.nn.functional.normalize(torch.from_numpy(x), dim=1) for x in (a, b))
        expected += ((a - b) ** 2).sum(1).mean((1, 2))
    np.testing.assert_allclose(distances, expected, rtol=1e-9)
    assert (metrics.feature_distance(IMAGES, IMAGES, features) == 0).all()


def test_vectors_are_features_too():
    distances = metrics.feature_distance(IMAGES, OTHERS, lambda x: x.reshape(len(x), -1).astype(float))
    a, b = (x.reshape(len(x), -1).astype(float) for x in (IMAGES, OTHERS))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(distances, 2 - 2 * cosine)


def test_pairs_must_fit():
    with pytest.raises(InputError, match="reference"):
        metrics.feature_distance(IMAGES, OTHERS[:2], features)
    with pytest.raises(InputError, match="batch_size"):
        metrics.feature_distance(IMAGES, OTHERS, features, batch_size=0)
