from __future__ import annotations

import numpy as np
import pytest
import torch
from pairs import IMAGES
from scipy.linalg import sqrtm

from ditscope import metrics
from ditscope.errors import InputError, UnsupportedError

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("sizes", [(80, 70), (10, 6)])  # of full rank, and not
def test_the_distance_is_that_of_the_gaussians(sizes):
    one = RANDOM.normal(size=(sizes[0], 12)) @ RANDOM.normal(size=(12, 12))
    other = 0.5 + RANDOM.normal(size=(sizes[1], 12)) @ RANDOM.normal(size=(12, 12))
    covariances = [np.cov(each, rowvar=False) for each in (one, other)]
    # As in the paper's own code: a trifle on the diagonals, where roots of singular matrices are not found.
    root = sqrtm((covariances[0] + 1e-9 * np.eye(12)) @ (covariances[1] + 1e-9 * np.eye(12))).real
    gap = one.mean(0) - other.mean(0)
    expected = gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert metrics.frechet_distance(one, other) == pytest.approx(expected, rel=1e-3)
    assert metrics.frechet_distance(one, one[::-1]) == pytest.approx(0, abs=1e-8)


def test_too_small_sets_are_refused():
    with pytest.raises(InputError, match="3 images for fid; expected at least 2049"):
        metrics.fid(IMAGES, IMAGES)
    with pytest.raises(InputError, match="option of fid 'net'"):
        metrics.fid(IMAGES, IMAGES, net="vgg")


def test_says_what_is_missing_or_equals_the_library():
    measure = metrics.METRICS["fid"]
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError):
        with pytest.raises(UnsupportedError, match=r"no Inception here.*torch-fidelity.*ditscope\[metrics\]"):
            measure.open()
        return
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"])
    except (OSError, RuntimeError):
        with pytest.raises(UnsupportedError, match="no weights of Inception.*checkpoints"):
            measure.open()
        return
    with torch.inference_mode():
        expected = network(torch.from_numpy(IMAGES).permute(0, 3, 1, 2).contiguous())[0]
    np.testing.assert_allclose(measure.features(IMAGES), expected, rtol=1e-5)
