"""What hand-made sweeps consist of."""

from __future__ import annotations

import pytest

from ditscope.experiments.outline import Outline


@pytest.fixture
def outline() -> Outline:
    """Two cells, two edits, the second with a further draw in the first cell; two batches of three samples."""
    return Outline(
        dims={"block": [0, 1], "k": [3]},
        edits=["a", "b"],
        draws=[[1, 2], [1, 1]],
        control=[False, True],
        matched_to=["", "what a changes"],
        metrics=[{"metric": "psnr", "paired": True, "over": "image", "binary": False}],
        prompts=["x", "y", "z"],
        seeds=[0, 0, 0],
        batch_size=2,
        images="drop",
        image_size=None,
        attrs={"model": "m"},
    )
