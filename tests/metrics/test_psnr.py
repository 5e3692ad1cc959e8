from __future__ import annotations

import numpy as np
import pytest
from pairs import IMAGES, OTHERS
from skimage.metrics import peak_signal_noise_ratio

from ditscope import metrics
from ditscope.errors import InputError


def test_equals_scikit_image():
    expected = [peak_signal_noise_ratio(b, a, data_range=255) for a, b in zip(IMAGES, OTHERS, strict=True)]
    np.testing.assert_allclose(metrics.psnr(IMAGES, OTHERS), expected, rtol=1e-12)


def test_by_hand_and_of_equal_images():
    a, b = np.zeros((12, 12, 3), dtype=np.uint8), np.full((12, 12, 3), 51, dtype=np.uint8)
    assert metrics.psnr(a, b) == pytest.approx(-20 * np.log10(0.2))  # bytes would wrap: 0 - 51 = 205
    assert metrics.psnr(a, b) == pytest.approx(float(metrics.psnr(a / 255, b / 255)))
    assert metrics.psnr(a, a) == np.inf


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.mean_abs_difference])
def test_leading_dims_are_kept_and_the_reference_broadcasts(metric):
    many = np.broadcast_to(IMAGES[:2, None], (2, 4, *IMAGES.shape[1:]))
    values = metric(many, OTHERS[0])
    assert values.shape == (2, 4)
    np.testing.assert_allclose(values[1, 2], metric(IMAGES[1], OTHERS[0]))


@pytest.mark.parametrize("part", [(slice(None), slice(10)), slice(2)])
def test_pairs_must_fit(part):
    with pytest.raises(InputError, match="one size"):
        metrics.psnr(IMAGES, OTHERS[part])
