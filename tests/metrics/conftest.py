"""A CLIP of the embedded sizes with random weights, its scorer, and images for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pairs import UNIT

from ditscope import metrics
from ditscope.shapes import networks


@pytest.fixture(scope="session")
def clip():
    torch.manual_seed(0)
    return networks.clip().eval()


@pytest.fixture(scope="session")
def scorer(clip):
    return metrics.ClipScorer(clip, networks.tokenizer(start=True), **UNIT, batch_size=2)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def prompts():
    return ["a large red circle", "a small blue square on a green background", "a large red circle"]
