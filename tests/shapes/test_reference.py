"""Reference masks from the caption's colours, against the true masks of real scenes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ditscope.errors import InputError
from ditscope.shapes import draw_scene, make_scene, make_scenes, reference_mask, reference_masks

N_SCENES = 300


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("n_objects", [1, 2])
def test_reference_masks_agree_with_the_true_ones(n_objects) -> None:
    scenes = make_scenes(N_SCENES, 123, n_objects=n_objects)
    found = np.array([iou(reference_mask(scene.image, scene.caption), scene.mask) for scene in scenes])
    assert found.mean() >= 0.97
    assert found.min() >= 0.9


@pytest.mark.parametrize("n_objects", [1, 2])
def test_each_object_has_its_own_mask_in_the_order_of_the_caption(n_objects) -> None:
    for scene in make_scenes(60, 17, n_objects=n_objects):
        found = reference_masks(scene.image, scene.caption)
        assert found.shape == (n_objects, 64, 64)
        assert (found.sum(axis=0) <= 1).all()
        assert np.array_equal(found.any(axis=0), reference_mask(scene.image, scene.caption))
        assert min(iou(one, other) for one, other in zip(found, scene.masks, strict=True)) > 0.85


def test_objects_of_one_colour_have_a_common_mask_alone() -> None:
    attributes = make_scene(3, n_objects=2).attributes
    objects = tuple(
        dataclasses.replace(words, colour=attributes.objects[0].colour) for words in attributes.objects
    )
    scene = draw_scene(dataclasses.replace(attributes, objects=objects), np.random.default_rng(0))
    assert iou(reference_mask(scene.image, scene.caption), scene.mask) > 0.9
    with pytest.raises(InputError, match="objects of one colour"):
        reference_masks(scene.image, scene.caption)


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
