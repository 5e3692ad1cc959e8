"""Scenes as tensors, and what a training step takes from its number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope.shapes import make_scene
from ditscope.shapes.oracle import OPEN, QUESTIONS
from ditscope.shapes.training import data
from ditscope.shapes.training.data import SceneSet, step_generator, to_model


@pytest.mark.parametrize("pixels", [64, 32])
def test_a_scene_set_is_the_seeds_first_scenes_with_their_words(pixels) -> None:
    found = SceneSet(5, 3, pixels=pixels)
    scenes = [make_scene(3, index, n_objects=1 + index % 2, pixels=pixels) for index in range(5)]
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), [scene.image for scene in scenes])
    assert found.captions == [scene.caption for scene in scenes]
    names = list(QUESTIONS)
    for labels, scene in zip(found.labels, scenes, strict=True):
        words = min(scene.attributes.objects, key=lambda each: each.place not in ("left", "top"))
        assert QUESTIONS["colour"][labels[names.index("colour")]] == words.colour
        assert (labels[names.index("second_colour")] == OPEN) == (len(scene.attributes.objects) == 1)
        assert QUESTIONS["texture"][labels[names.index("texture")]] == scene.attributes.texture
    assert len(found) == 5


def test_several_processes_draw_the_same_scenes(monkeypatch) -> None:
    monkeypatch.setattr(data, "_CHUNK", 2)
    alone, shared = (SceneSet(5, 3, pixels=16, n_objects=(2,), workers=workers) for workers in (1, 2))
    assert torch.equal(alone.images, shared.images)
    assert torch.equal(alone.labels, shared.labels)
    assert alone.captions == shared.captions
    assert all(" and " in caption for caption in alone.captions)


def test_bytes_become_numbers_from_minus_one_to_one() -> None:
    values = to_model(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert values.dtype == torch.float32
    assert values.tolist() == pytest.approx([-1.0, 51 / 127.5 - 1, 1.0])


def test_a_steps_randomness_is_its_own_and_comes_again() -> None:
    drawn = {at: torch.randn(4, generator=step_generator(*at)) for at in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert torch.equal(drawn[1, 0], torch.randn(4, generator=step_generator(1, 0)))
    assert len({tuple(values.tolist()) for values in drawn.values()}) == 4
