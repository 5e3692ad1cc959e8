"""The oracle's questions and the quality table, without trained weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope.intervals import wilson_interval
from ditscope.shapes import ATTRIBUTE_VALUES, load_oracle, make_scene, make_scenes
from ditscope.shapes.assembly import save_oracle
from ditscope.shapes.oracle import Oracle, attribute_labels
from ditscope.shapes.quality import judge


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


def test_a_saved_oracle_answers_as_before(oracle, tmp_path) -> None:
    images = np.stack([scene.image for scene in make_scenes(8, 1)])
    save_oracle(oracle, tmp_path / "oracle")
    assert np.array_equal(load_oracle(tmp_path / "oracle").answers(images), oracle.answers(images))


class Knowing:
    """Answers right, but for the colour of the first two images and the background of the third."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels.copy()
        names = list(ATTRIBUTE_VALUES)
        self.labels[:2, names.index("colour")] += 1
        self.labels[2, names.index("background")] += 1

    def answers(self, images: np.ndarray) -> np.ndarray:
        return self.labels


def test_the_quality_table_counts_right_answers_with_intervals() -> None:
    scenes = list(make_scenes(10, 4))
    labels = np.array([attribute_labels(scene.attributes) for scene in scenes])
    table = judge(Knowing(labels), np.stack([s.image for s in scenes]), [s.caption for s in scenes])
    assert table["right"].round(6).to_dict() == {
        "shape": 1.0,
        "colour": 0.8,
        "size": 1.0,
        "place": 1.0,
        "background": 0.9,
        "texture": 1.0,
        "colours": 0.7,  # both colours of one image
    }
    interval = wilson_interval(7, 10)
    assert table.loc["colours", "low"] == pytest.approx(float(interval.low))
    assert table.loc["colours", "high"] == pytest.approx(float(interval.high))
    assert (table["images"] == 10).all()
