"""Images for prompts as the bare pipeline draws them, and the table of what the oracle finds in images."""

from __future__ import annotations

import numpy as np
import pytest

import bare_pipeline
from ditscope.errors import InputError
from ditscope.intervals import wilson_interval
from ditscope.shapes import ATTRIBUTE_VALUES, make_scene, make_scenes, prompts
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


def test_the_oracle_itself_is_judged_on_scenes_of_its_own_seed() -> None:
    scenes = list(make_scenes(12, 10_000))
    oracle = Oracle().eval()
    found = oracle.answers(np.stack([scene.image for scene in scenes]))
    right = found == np.array([attribute_labels(scene.attributes) for scene in scenes])
    table = judge_oracle(oracle, count=12)
    assert table.loc[list(ATTRIBUTE_VALUES), "right"].tolist() == pytest.approx(right.mean(0).tolist())
    assert (table["images"] == 12).all()


def test_a_caption_with_two_objects_is_refused() -> None:
    caption = make_scene(0, n_objects=2).caption
    with pytest.raises(InputError, match="found 2 objects"):
        judge(Oracle().eval(), np.zeros((1, 64, 64, 3), np.uint8), [caption])
