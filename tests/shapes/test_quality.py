"""Images for prompts as the bare pipeline draws them, and the table of what the oracle finds in images."""

from __future__ import annotations

import numpy as np
import pytest

import bare_pipeline
from ditscope.errors import InputError
from ditscope.intervals import wilson_interval
from ditscope.shapes import ATTRIBUTE_VALUES, QUESTIONS, make_scenes, prompts
from ditscope.shapes.oracle import Oracle, attribute_labels
from ditscope.shapes.quality import draw_images, judge, judge_oracle

CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}


def test_the_nth_image_has_the_nth_seed_whatever_the_batches(dit, untrained_folder) -> None:
    captions = prompts(3, seed=1)
    found = draw_images(dit, captions, seed=40, batch_size=2, **CALL)
    bare = bare_pipeline.opened(untrained_folder)
    for part in (slice(0, 2), slice(2, 3)):
        expected = bare_pipeline.generate(bare, captions[part], [40, 41, 42][part], **CALL).images
        assert np.array_equal(found[part], expected)


class Knowing:
    """Answers right, but for the questions about some images."""

    def __init__(self, labels: np.ndarray, wrong: dict[str, slice]) -> None:
        self.labels = labels.copy()
        for name, images in wrong.items():
            self.labels[images, list(QUESTIONS).index(name)] += 1

    def answers(self, images: np.ndarray) -> np.ndarray:
        return self.labels


def test_the_quality_table_counts_right_answers_with_intervals() -> None:
    scenes = list(make_scenes(10, 4))
    labels = np.array([attribute_labels(scene.attributes) for scene in scenes])
    knowing = Knowing(labels, {"colour": slice(2), "background": slice(2, 3), "second_shape": slice(3, 4)})
    table = judge(knowing, np.stack([s.image for s in scenes]), [s.caption for s in scenes])
    assert table["right"].round(6).to_dict() == {
        "shape": 1.0,
        "colour": 0.8,
        "size": 1.0,
        "place": 1.0,
        "background": 0.9,
        "texture": 1.0,
        "count": 1.0,
        "colours": 0.7,  # both colours of one image
        "objects": 0.8,  # all that is said of the object; nothing is, of a second one
        "all": 0.7,
    }
    interval = wilson_interval(7, 10)
    assert table.loc["colours", "low"] == pytest.approx(float(interval.low))
    assert table.loc["colours", "high"] == pytest.approx(float(interval.high))
    assert (table["images"] == 10).all()


def test_an_attribute_is_right_where_it_is_right_of_both_objects() -> None:
    scenes = list(make_scenes(10, 4, n_objects=2))
    labels = np.array([attribute_labels(scene.attributes) for scene in scenes])
    wrong = {
        "shape": slice(0, 1),
        "second_shape": slice(0, 3),
        "second_place": slice(3, 4),
        "count": slice(4, 5),
    }
    wrong |= {"texture": slice(5, 6)}
    table = judge(Knowing(labels, wrong), np.stack([s.image for s in scenes]), [s.caption for s in scenes])
    expected = {
        "shape": 0.7,
        "colour": 1,
        "size": 1,
        "place": 0.9,
        "background": 1,
        "texture": 0.9,
        "count": 0.9,
    }
    assert table["right"].round(6).to_dict() == expected | {"colours": 1, "objects": 0.5, "all": 0.4}


def test_the_oracle_itself_is_judged_on_scenes_of_its_own_seed() -> None:
    scenes = list(make_scenes(12, 10_000))
    oracle = Oracle().eval()
    found = oracle.answers(np.stack([scene.image for scene in scenes]))
    right = (found == np.array([attribute_labels(scene.attributes) for scene in scenes]))[:, :6]
    table = judge_oracle(oracle, count=12)
    assert table.loc[list(ATTRIBUTE_VALUES), "right"].tolist() == pytest.approx(right.mean(0).tolist())
    assert (table["images"] == 12).all()


def test_it_is_judged_on_scenes_of_two_objects_too() -> None:
    scenes = list(make_scenes(12, 10_000, n_objects=2))
    oracle = Oracle().eval()
    found = oracle.answers(np.stack([scene.image for scene in scenes]))
    right = found == np.array([attribute_labels(scene.attributes) for scene in scenes])
    column = list(QUESTIONS).index("count")
    assert judge_oracle(oracle, count=12, n_objects=2).loc["count", "right"] == right[:, column].mean()


def test_a_caption_of_other_scenes_is_refused() -> None:
    caption = "a small red ring at the left and a small cyan star at the top on a plain blue background"
    with pytest.raises(InputError, match="found 2 objects"):
        judge(Oracle().eval(), np.zeros((1, 64, 64, 3), np.uint8), [caption])
