from __future__ import annotations

import numpy as np
import pytest
from pairs import IMAGES, OTHERS

from ditscope import metrics


def test_by_hand_and_against_numpy():
    a, b = np.zeros((12, 12, 3), dtype=np.uint8), np.full((12, 12, 3), 51, dtype=np.uint8)
    assert metrics.mean_abs_difference(a, b) == pytest.approx(0.2)  # bytes would wrap: 0 - 51 = 205
    expected = abs(IMAGES.astype(int) - OTHERS).mean((1, 2, 3)) / 255
    np.testing.assert_allclose(metrics.mean_abs_difference(IMAGES, OTHERS), expected)
