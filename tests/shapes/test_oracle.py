"""The oracle's questions, without trained weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope.shapes import ATTRIBUTE_VALUES, make_scene, make_scenes
from ditscope.shapes.oracle import Oracle, attribute_labels


@pytest.fixture
def oracle() -> Oracle:
    torch.manual_seed(0)
    return Oracle().eval()


def test_labels_point_at_the_scene_s_own_words() -> None:
    for scene in make_scenes(30, 2, pixels=8):
        words = scene.attributes.objects[0]
        answers = [
            values[label]
            for values, label in zip(
                ATTRIBUTE_VALUES.values(), attribute_labels(scene.attributes), strict=True
            )
        ]
        assert answers == [
            words.shape,
            words.colour,
            words.size,
            words.place,
            scene.attributes.background,
            scene.attributes.texture,
        ]


def test_two_objects_have_no_labels() -> None:
    with pytest.raises(ValueError, match="found 2 objects"):
        attribute_labels(make_scene(0, n_objects=2).attributes)


def test_answers_are_the_best_logits_of_each_head(oracle) -> None:
    images = np.stack([scene.image for scene in make_scenes(5, 0)])
    with torch.no_grad():
        logits = oracle(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    expected = np.stack([logits[name].numpy().argmax(1) for name in ATTRIBUTE_VALUES], axis=1)
    assert np.array_equal(oracle.answers(images), expected)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 64, 64, 3)), np.zeros((1, 32, 32, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
)
def test_other_images_are_refused(oracle, images) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        oracle.answers(images)
