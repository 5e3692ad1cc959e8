"""Scenes as tensors, and what a training step takes from its number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope.shapes import make_scene
from ditscope.shapes.oracle import ATTRIBUTE_VALUES
from ditscope.shapes.training.data import SceneSet, learning_rate, set_rate, step_generator, to_model


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


def test_the_learning_rate_rises_holds_and_falls_to_zero() -> None:
    rates = [learning_rate(step, 100, warm_up=10, decay_share=0.3) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:71] == [1.0] * 62
    assert rates[85] == pytest.approx(0.5)
    assert rates[100] == 0.0
    assert all(0 <= rate <= 1 for rate in rates)


def test_the_rate_is_set_in_every_group() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
