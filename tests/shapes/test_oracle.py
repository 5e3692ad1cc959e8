"""The oracle's questions, without trained weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope.shapes import ATTRIBUTE_VALUES, QUESTIONS, make_scenes, parse_caption
from ditscope.shapes.oracle import OPEN, Oracle, attribute_labels


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
                ATTRIBUTE_VALUES.values(), attribute_labels(scene.attributes), strict=False
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


def answers(caption: str) -> dict[str, str]:
    """The labels as words, without the open ones."""
    labels = attribute_labels(parse_caption(caption))
    assert len(labels) == len(QUESTIONS)
    return {n: v[label] for (n, v), label in zip(QUESTIONS.items(), labels, strict=True) if label != OPEN}


def test_one_object_leaves_the_second_open() -> None:
    assert answers("a large red circle in the centre on a plain blue background") == {
        "shape": "circle",
        "colour": "red",
        "size": "large",
        "place": "centre",
        "background": "blue",
        "texture": "plain",
        "count": "one",
    }


@pytest.mark.parametrize("places", [("left", "right"), ("top", "bottom")])
def test_the_first_of_two_objects_is_the_one_at_the_left_or_the_top(places) -> None:
    first, second = (
        f"a small {thing} at the {place}"
        for thing, place in zip(("red circle", "cyan star"), places, strict=True)
    )
    for things in ((first, second), (second, first)):
        assert answers(f"{' and '.join(things)} on a dotted black background") == {
            "shape": "circle",
            "colour": "red",
            "size": "small",
            "place": places[0],
            "background": "black",
            "texture": "dotted",
            "count": "two",
            "second_shape": "star",
            "second_colour": "cyan",
            "second_size": "small",
            "second_place": places[1],
        }


@pytest.mark.parametrize(
    "places", [("left", "left"), ("left", "top"), ("left", "centre"), ("left", "right", "top")]
)
def test_other_scenes_have_no_labels(places) -> None:
    at = {"centre": "in the centre"}
    things = " and ".join(f"a small red ring {at.get(place, f'at the {place}')}" for place in places)
    with pytest.raises(ValueError, match=f"found {len(places)} objects"):
        attribute_labels(parse_caption(f"{things} on a plain blue background"))


def test_answers_are_the_best_logits_of_each_head(oracle) -> None:
    images = np.stack([scene.image for scene in make_scenes(5, 0)])
    with torch.no_grad():
        logits = oracle(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    expected = np.stack([logits[name].numpy().argmax(1) for name in QUESTIONS], axis=1)
    assert np.array_equal(oracle.answers(images), expected)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 64, 64, 3)), np.zeros((1, 32, 32, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
)
def test_other_images_are_refused(oracle, images) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        oracle.answers(images)
