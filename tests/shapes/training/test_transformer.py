"""Training the generator: positions of the coarse grid, latents as the pipeline packs them, the flow's direction."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from ditscope.shapes import networks
from ditscope.shapes.training import transformer as training
from ditscope.shapes.training.data import SceneSet, step_generator

FEW = {"scenes": 4, "batch": 3}


def test_the_fine_grid_is_the_pipelines_and_a_coarse_token_lies_amid_four_fine_ones() -> None:
    fine, coarse = (training.grid_ids(stage) for stage in (training.FINE, training.COARSE))
    assert torch.equal(fine, FluxPipeline._prepare_latent_image_ids(1, 16, 16, "cpu", torch.float32))
    fours = fine.reshape(8, 2, 8, 2, 3).mean(dim=(1, 3))
    assert torch.equal(coarse, fours.reshape(64, 3))


@pytest.fixture
def autoencoder():
    torch.manual_seed(1)
    model = networks.autoencoder().eval()
    model.register_to_config(shift_factor=0.25, scaling_factor=3.0)
    return model


def test_latents_are_packed_in_patches_of_two_by_two_and_encoded_once(tmp_path, autoencoder) -> None:
    stage = dataclasses.replace(training.COARSE, **FEW)
    found = training.latents(stage, tmp_path, autoencoder, 4, "cpu")
    scenes = SceneSet(4, 4 + 1, pixels=32)
    with torch.no_grad():
        encoded = autoencoder.encode(scenes.images / 127.5 - 1).latent_dist.mode()
    encoded = ((encoded - 0.25) * 3.0).to(torch.bfloat16)
    for y, x in np.ndindex(8, 8):
        patch = encoded[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flatten(1)
        torch.testing.assert_close(found.latents[:, 8 * y + x], patch)
    assert found.captions == scenes.captions
    again = training.latents(stage, tmp_path, networks.autoencoder(), 4, "cpu")
    assert torch.equal(again.latents, found.latents)


def test_the_first_step_turns_the_velocity_from_the_scene_towards_the_noise(
    tmp_path, monkeypatch, autoencoder
) -> None:
    """All that an initialised transformer can learn is its last bias: by Adam's first step, a sign times the rate."""
    monkeypatch.setattr(training, "COARSE", dataclasses.replace(training.COARSE, **FEW))
    trained = training.train_generator(
        tmp_path, autoencoder, coarse_steps=1, fine_steps=0, seed=4, device="cpu", compiled=False
    )
    clean = training.latents(training.COARSE, tmp_path, autoencoder, 4, "cpu").latents.float()
    random = step_generator(4, 0)
    rows = torch.randint(4, (3,), generator=random)
    torch.rand(3, generator=random)  # which captions are left out
    noise = torch.randn(3, 64, 16, generator=random)
    expected = (noise - clean[rows]).mean(dim=(0, 1)).sign() * 1.5e-3 / 400
    # The average that is kept holds an eleventh of the start, which is 0.
    torch.testing.assert_close(
        trained.transformer.proj_out.bias.detach(), expected * 10 / 11, rtol=1e-3, atol=0
    )
    assert not trained.training
