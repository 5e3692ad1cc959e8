from __future__ import annotations

import numpy as np
import pytest
import torch
from pairs import IMAGES, OTHERS

from ditscope import metrics
from ditscope.errors import InputError, UnsupportedError


def test_says_what_is_missing_or_equals_the_library():
    try:
        import lpips
        import torchvision  # noqa: F401
    except ImportError as missing:
        with pytest.raises(UnsupportedError, match=rf"{missing}.*ditscope\[metrics\]"):
            metrics.lpips(IMAGES, OTHERS)
        return
    try:
        network = lpips.LPIPS(net="alex", verbose=False).eval()
    except (OSError, RuntimeError):
        with pytest.raises(UnsupportedError, match="no weights of the backbone alex.*checkpoints"):
            metrics.lpips(IMAGES, OTHERS)
        return
    a, b = (torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1 for x in (IMAGES, OTHERS))
    with torch.inference_mode():
        expected = network(a, b).flatten()
    np.testing.assert_allclose(metrics.lpips(IMAGES, OTHERS, batch_size=2), expected, rtol=1e-4)
    np.testing.assert_allclose(metrics.METRICS["lpips"](IMAGES, reference=OTHERS), expected, rtol=1e-4)
    assert (metrics.lpips(IMAGES, IMAGES) == 0).all()


def test_refused_before_anything_is_opened():
    with pytest.raises(InputError, match="'resnet'.*'alex', 'vgg', 'squeeze'"):
        metrics.lpips(IMAGES, OTHERS, net="resnet")
    with pytest.raises(InputError, match="at least 32"):
        metrics.lpips(IMAGES[:, :16], OTHERS[:, :16])
