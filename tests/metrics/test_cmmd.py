from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ditscope import metrics
from ditscope.errors import InputError

RANDOM = np.random.default_rng(0)
ONE = RANDOM.normal(size=(60, 12))
OTHER = 0.5 + 1.5 * RANDOM.normal(size=(50, 12))


def test_the_discrepancy_is_the_mean_kernel_of_all_pairs():
    def kernel(a, b):
        return np.exp(-cdist(a, b, "sqeuclidean") / 200).mean()

    expected = 1000 * (kernel(ONE, ONE) + kernel(OTHER, OTHER) - 2 * kernel(ONE, OTHER))
    assert metrics.maximum_mean_discrepancy(ONE, OTHER) == pytest.approx(expected, rel=1e-9)
    assert metrics.maximum_mean_discrepancy(ONE, ONE[::-1]) == pytest.approx(0, abs=1e-10)


def test_sets_of_one_distribution_are_as_far_apart_as_the_docstring_says():
    halves = [RANDOM.normal(size=(2, 50, 12)) for _ in range(40)]
    mean_kernel = np.mean([np.exp(-cdist(a, b, "sqeuclidean") / 200).mean() for a, b in halves])
    found = np.mean([metrics.maximum_mean_discrepancy(a, b) for a, b in halves])
    assert found == pytest.approx(2000 * (1 - mean_kernel) / 50, rel=0.1)


def test_cmmd_is_that_of_clips_features(scorer):
    images = RANDOM.integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
    darker = images // 2
    features = [scorer.image_features(each) for each in (darker, images)]
    expected = metrics.maximum_mean_discrepancy(*features)
    assert metrics.cmmd(darker, images, scorer) == pytest.approx(expected, rel=1e-6)
    assert expected > 0.01
    measure = metrics.resolve("cmmd", clip=scorer)["cmmd"]
    assert (measure.over, measure.paired) == ("set", True)
    assert measure(darker, reference=images) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="49 images for cmmd; expected at least 50"):
        metrics.cmmd(darker[:49], images, scorer)
    with pytest.raises(InputError, match="no reference for cmmd"):
        measure(darker)
