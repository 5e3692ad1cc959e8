from __future__ import annotations

import numpy as np
import pytest

from ditscope import metrics
from ditscope.errors import InputError
from ditscope.models.embedded import embedded_folder
from ditscope.shapes.captions import Attributes, ObjectWords
from ditscope.shapes.oracle import ATTRIBUTE_VALUES, attribute_labels, load_oracle
from ditscope.shapes.scenes import make_scene

SCENES = [make_scene(5, number) for number in range(8)]
SEEN = np.stack([scene.image for scene in SCENES])


def other_words(scene) -> Attributes:
    """The caption with another colour and another texture."""
    one = scene.attributes.objects[0]
    colour = next(c for c in ATTRIBUTE_VALUES["colour"] if c not in (one.colour, scene.attributes.background))
    texture = next(t for t in ATTRIBUTE_VALUES["texture"] if t != scene.attributes.texture)
    return Attributes(
        (ObjectWords(one.size, colour, one.shape, one.place),), scene.attributes.background, texture
    )


def test_each_attribute_is_right_where_the_oracle_says_what_the_caption_does():
    prompts = [
        scene.caption if number % 2 else other_words(scene).caption for number, scene in enumerate(SCENES)
    ]
    words = [scene.attributes if number % 2 else other_words(scene) for number, scene in enumerate(SCENES)]
    answers = load_oracle(embedded_folder()).answers(SEEN)
    found = metrics.shapes_attributes(SEEN, prompts)
    assert list(found) == list(ATTRIBUTE_VALUES)
    for column, name in enumerate(ATTRIBUTE_VALUES):
        expected = [attribute_labels(each)[column] == answers[row, column] for row, each in enumerate(words)]
        assert found[name].tolist() == expected
        measure = metrics.METRICS[f"{name}_right"]
        assert measure(SEEN, prompts=prompts).tolist() == expected
        assert (measure.binary, measure.damage, measure.paired) == (True, "lower", False)
    assert found["place"].all()
    assert found["colour"].tolist() == found["texture"].tolist() == [False, True] * 4


def test_only_captions_of_one_object_are_judged_and_others_refused_before_a_run():
    measure = metrics.METRICS["place_right"]
    measure.open([scene.caption for scene in SCENES])
    with pytest.raises(InputError, match="'a red circle'"):
        measure.open(["a red circle"])
    with pytest.raises(InputError, match="2 objects"):
        measure.open([make_scene(5, 0, n_objects=2).caption])
    with pytest.raises(InputError, match="8 images and 1 prompts"):
        metrics.shapes_attributes(SEEN, [SCENES[0].caption])
