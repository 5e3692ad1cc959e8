from __future__ import annotations

import numpy as np
import pytest

from ditscope import passes
from ditscope.errors import InputError


def test_iou():
    a = np.array([[True, True], [False, False]])
    b = np.array([[True, False], [True, False]])
    assert passes.iou(a, b) == pytest.approx(1 / 3)
    assert passes.iou(a, a) == 1
    assert passes.iou(a, ~a) == 0
    assert np.isnan(passes.iou(a & False, a & False))
    with pytest.raises(InputError, match="bool"):
        passes.iou(a.astype(int), b)
