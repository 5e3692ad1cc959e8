"""Blurred channels against scipy's Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import bare_pipeline
import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.errors import InputError
from ditscope.tracing.run import run_traced

IDS, BLOCK = [3, 77, 120], 6
CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}  # 4 x 8 image tokens


@pytest.mark.parametrize(("deviation", "tokens"), [(0.7, None), (1.5, [0, 17, 31])])
def test_blur_is_a_gaussian_over_the_grid(dit, deviation, tokens) -> None:
    edited = EditedVisit(dit, [ds.edits.blur(IDS, deviation, blocks=BLOCK, tokens=tokens)], range(1))
    seen = []

    def at_visit(visit) -> None:
        for block in dit.blocks[: BLOCK + 1]:
            if block.index == BLOCK:
                seen.append(block.read("block_output", "image").numpy().copy())
            edited.apply_at(visit, block, "block_output", "image")
        seen.append(dit.blocks[BLOCK + 1].read("block_input", "image").numpy().copy())

    run_traced(dit, [("a red circle", 5), ("a white star", 6)], at_visit, **CALL)
    old, new = seen
    expected = old.copy()
    positions = range(32) if tokens is None else tokens
    for row in range(2):
        for channel in IDS:
            plane = old[row, :, channel].reshape(4, 8)
            radius = int(np.ceil(3 * deviation))
            blurred = gaussian_filter(plane.astype(np.float64), deviation, mode="nearest", radius=radius)
            expected[row, positions, channel] = blurred.ravel()[positions]
    assert np.allclose(new, expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(new, old, atol=0.01)


@pytest.mark.parametrize("deviation", [0, -1.0, float("nan"), None])
def test_a_deviation_that_is_none_is_refused(deviation) -> None:
    with pytest.raises(InputError, match="deviation"):
        ds.edits.blur(IDS, deviation)


def test_text_has_no_grid() -> None:
    with pytest.raises(InputError, match="blur of the text stream"):
        ds.edits.blur(IDS, 1.0, stream="text")


def test_the_label_says_the_deviation() -> None:
    assert ds.edits.blur(IDS, 1.5).label == "blur by 1.5 tokens explicit channels"
