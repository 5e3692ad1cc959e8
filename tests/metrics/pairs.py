"""Images and noisy copies of them, and the scale of the CLIP, for every test of a metric."""

from __future__ import annotations

import numpy as np

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (3, 40, 44, 3), dtype=np.uint8)
OTHERS = np.clip(IMAGES + RANDOM.normal(0, 30, IMAGES.shape), 0, 255).astype(np.uint8)
UNIT = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
