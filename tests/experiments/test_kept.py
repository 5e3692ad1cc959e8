"""Images that are kept, and how small thumbnails are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ditscope.experiments.kept import Kept, scaled, thumbnail_size
from ditscope.experiments.outline import RunKey
from ditscope.experiments.scoring import Scored

NOTHING = Scored(np.zeros((1, 2)), np.zeros(2, int), np.zeros(2), np.zeros(2), np.zeros(2))


def test_images_stand_where_their_labels_say(outline) -> None:
    kept = Kept(replace(outline, images="keep", image_size=(2, 3)))
    images = np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3)
    kept.add_baseline(0, NOTHING, [False, True], images, "")
    kept.add(RunKey(1, 1, 0, 0), NOTHING, images + 1)
    found = kept.images()
    assert found["images"].dims == ("block", "k", "edit", "draw", "sample", "y_pixel", "x_pixel", "rgb")
    assert np.array_equal(found["images"][1, 0, 1, 0, :2], images + 1)
    assert found["images"].values.any((-1, -2, -3)).sum() == 2
    assert np.array_equal(found["baseline_images"][:2], images)
    assert len(kept.missing(0)) == 4
    assert Kept(outline).images() == {}


@pytest.mark.parametrize(
    ("size", "small"), [((1024, 512), (128, 64)), ((64, 64), (64, 64)), ((2000, 1), (128, 1))]
)
def test_thumbnails_keep_their_shape(size, small) -> None:
    assert thumbnail_size(*size) == small


def test_thumbnails_are_means_over_areas() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    means = images.reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    assert np.abs(scaled(images, (2, 3)) - means).max() <= 1
    assert scaled(images, (4, 6)) is images
