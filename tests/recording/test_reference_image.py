"""A pipeline without reference images has none to capture; ``tests/families`` has those that do."""

from __future__ import annotations

import numpy as np
import pytest
from pipeline_recording import PLAIN, PROMPTS

import ditscope as ds
from ditscope.errors import UnsupportedError


def test_a_pipeline_from_text_alone_is_refused_by_name(dit) -> None:
    image = np.zeros((32, 48, 3), np.uint8)
    with pytest.raises(UnsupportedError, match=r"method='reference' on FluxPipeline.*Pass method='noise'"):
        ds.capture_image(dit, image, PROMPTS[0], method="reference", **PLAIN)
