from __future__ import annotations

import numpy as np
import pytest

from ditscope import metrics
from ditscope.errors import InputError
from ditscope.shapes.reference import reference_mask
from ditscope.shapes.scenes import make_scene

SCENES = [make_scene(3, number) for number in range(4)]
SEEN = np.stack([scene.image for scene in SCENES])
PROMPTS = [scene.caption for scene in SCENES]


def test_is_the_overlap_of_the_masks_of_each_pair():
    moved = np.roll(SEEN, 9, axis=2)
    found = metrics.METRICS["mask_iou"](moved, reference=SEEN, prompts=PROMPTS)
    for pair, prompt, each in zip(zip(moved, SEEN, strict=True), PROMPTS, found, strict=True):
        one, other = (reference_mask(image, prompt) for image in pair)
        assert each == (one & other).sum() / (one | other).sum()
    assert (found > 0).all()
    assert (found < 0.8).all()
    assert (metrics.mask_iou(SEEN, SEEN, PROMPTS) == 1).all()
    # The drawn masks are the truth that the reference mask comes near.
    drawn = np.stack([scene.mask for scene in SCENES])
    near = metrics.mask_iou(SEEN, SEEN, PROMPTS, masks=lambda images, prompts: drawn)
    assert near.tolist() == [1] * 4


def test_masks_of_ones_own_need_no_caption_of_the_shapes_world():
    bright = metrics.METRICS["mask_iou"].with_options(masks=lambda images, prompts: images[..., 0] > 128)
    bright.open(["a photo of a cat"])
    dark = np.zeros_like(SEEN)
    assert np.isnan(bright(dark, reference=dark, prompts=["a"] * 4)).all()
    with pytest.raises(InputError, match="'a photo of a cat'"):
        metrics.METRICS["mask_iou"].open(["a photo of a cat"])


def test_pairs_must_fit():
    with pytest.raises(InputError, match="3 prompts"):
        metrics.mask_iou(SEEN, SEEN, PROMPTS[:3])
    with pytest.raises(InputError, match="one shape"):
        metrics.mask_iou(SEEN, SEEN[:, :32], PROMPTS)
