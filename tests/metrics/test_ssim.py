from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from pairs import IMAGES, OTHERS
from skimage.metrics import structural_similarity

from ditscope import metrics
from ditscope.errors import InputError

# The numbers of Wang et al. 2004, which scikit-image does not take by default.
PUBLISHED = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


def test_equals_scikit_image():
    pairs = list(zip(IMAGES / 255, OTHERS / 255, strict=True))
    expected = [structural_similarity(a, b, channel_axis=-1, **PUBLISHED) for a, b in pairs]
    np.testing.assert_allclose(metrics.ssim(IMAGES, OTHERS), expected, rtol=1e-12)
    luma = np.array([0.299, 0.587, 0.114])
    expected = [structural_similarity(a @ luma, b @ luma, **PUBLISHED) for a, b in pairs]
    np.testing.assert_allclose(metrics.ssim(IMAGES, OTHERS, space="luminance"), expected, rtol=1e-12)
    np.testing.assert_array_equal(
        metrics.ssim_luminance(IMAGES, OTHERS), metrics.ssim(IMAGES, OTHERS, space="luminance")
    )


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, (2, 12, 13, 3)))
def test_properties(pair):
    a, b = pair
    assert metrics.ssim(a, a) == pytest.approx(1)
    assert metrics.ssim(a, b) == pytest.approx(float(metrics.ssim(b, a)))
    assert -1 <= metrics.ssim(a, b) <= 1


def test_too_small_images_and_unknown_spaces_are_refused():
    with pytest.raises(InputError, match="at least 11"):
        metrics.ssim(IMAGES[:, :10], OTHERS[:, :10])
    with pytest.raises(InputError, match="'ycbcr'"):
        metrics.ssim(IMAGES, OTHERS, space="ycbcr")
