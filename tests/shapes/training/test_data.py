"""Scenes as tensors, and what a training step takes from its number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope.shapes import make_scene
from ditscope.shapes.oracle import ATTRIBUTE_VALUES
from ditscope.shapes.training.data import SceneSet, step_generator, to_model


@pytest.mark.parametrize("pixels", [64, 32])
def test_a_scene_set_is_the_seeds_first_scenes_with_their_words(pixels) -> None:
    data = SceneSet(5, 3, pixels=pixels)
    scenes = [make_scene(3, index, pixels=pixels) for index in range(5)]
    assert np.array_equal(data.images.permute(0, 2, 3, 1).numpy(), [scene.image for scene in scenes])
    assert data.captions == [scene.caption for scene in scenes]
    names = list(ATTRIBUTE_VALUES)
    for labels, scene in zip(data.labels, scenes, strict=True):
        assert ATTRIBUTE_VALUES["colour"][labels[names.index("colour")]] == scene.attributes.objects[0].colour
        assert ATTRIBUTE_VALUES["texture"][labels[names.index("texture")]] == scene.attributes.texture
    assert len(data) == 5


def test_bytes_become_numbers_from_minus_one_to_one() -> None:
    values = to_model(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert values.dtype == torch.float32
    assert values.tolist() == pytest.approx([-1.0, 51 / 127.5 - 1, 1.0])


def test_a_steps_randomness_is_its_own_and_comes_again() -> None:
    drawn = {at: torch.randn(4, generator=step_generator(*at)) for at in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert torch.equal(drawn[1, 0], torch.randn(4, generator=step_generator(1, 0)))
    assert len({tuple(values.tolist()) for values in drawn.values()}) == 4
