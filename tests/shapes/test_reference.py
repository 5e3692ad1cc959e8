"""Reference masks from the caption's colours, against the true masks of real scenes."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope.shapes import make_scene, make_scenes, reference_mask

N_SCENES = 300


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("n_objects", [1, 2])
def test_reference_masks_agree_with_the_true_ones(n_objects) -> None:
    scenes = make_scenes(N_SCENES, 123, n_objects=n_objects)
    found = np.array([iou(reference_mask(scene.image, scene.caption), scene.mask) for scene in scenes])
    assert found.mean() >= 0.97
    assert found.min() >= 0.9


def test_a_shift_of_all_colours_is_forgiven() -> None:
    for scene in make_scenes(40, 7):
        shifted = np.clip(scene.image.astype(int) + [14, -10, 8], 0, 255).astype(np.uint8)
        assert iou(reference_mask(shifted, scene.caption), scene.mask) > 0.9


def test_the_mask_follows_the_image_and_not_the_caption_s_place_or_shape() -> None:
    scene = make_scene(4, 2)
    words = scene.attributes.objects[0]
    place, shape = (
        ("right" if words.place == "left" else "left"),
        ("star" if words.shape != "star" else "ring"),
    )
    from ditscope.shapes import Attributes, ObjectWords

    moved = Attributes(
        (ObjectWords(words.size, words.colour, shape, place),),
        scene.attributes.background,
        scene.attributes.texture,
    )
    assert np.array_equal(
        reference_mask(scene.image, moved.caption), reference_mask(scene.image, scene.caption)
    )


def test_an_image_without_the_object_has_an_empty_mask() -> None:
    scene = make_scene(4, 2)
    background = np.broadcast_to(np.median(scene.image[~scene.mask], axis=0), (64, 64, 3)).astype(np.uint8)
    assert not reference_mask(background, scene.caption).any()


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64, 3)), np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8)]
)
def test_another_image_is_refused(image) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[y, x, rgb\]"):
        reference_mask(image, make_scene(0).caption)


def test_another_caption_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of the shapes world"):
        reference_mask(make_scene(0).image, "a photo of a dog")
