"""Training the autoencoder: it learns to keep scenes, and its latents come out with mean 0 and width 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from ditscope.shapes import make_scenes, networks
from ditscope.shapes.training import autoencoder as training

FEW = {"seed": 4, "device": "cpu", "scenes": 8}


@pytest.fixture(autouse=True)
def small_batch(monkeypatch) -> None:
    monkeypatch.setattr(training, "_BATCH", 2)


def pixels(edge: int) -> torch.Tensor:
    scenes = np.stack([scene.image for scene in make_scenes(8, 4, pixels=edge)])
    return torch.from_numpy(scenes / 127.5 - 1).permute(0, 3, 1, 2).float()


@torch.no_grad()
def error(model: AutoencoderKL, images: torch.Tensor) -> float:
    return float((model.decode(model.encode(images).latent_dist.mode()).sample - images).square().mean())


def test_latents_of_fine_scenes_are_shifted_and_scaled_to_mean_0_and_width_1(tmp_path) -> None:
    model = training.train_autoencoder(tmp_path, steps=0, **FEW)
    with torch.no_grad():
        latents = model.encode(pixels(64)).latent_dist.mean.double().numpy()
    scaled = (latents - model.config.shift_factor) * model.config.scaling_factor
    assert scaled.mean() == pytest.approx(0, abs=1e-3)
    assert scaled.std() == pytest.approx(1, abs=1e-3)


def test_steps_lessen_the_error_at_both_resolutions(tmp_path) -> None:
    torch.manual_seed(4)
    start = networks.autoencoder().eval()
    model = training.train_autoencoder(tmp_path, steps=5, **FEW)
    assert not model.training
    for edge in (64, 32):
        assert error(model, pixels(edge)) < 0.999 * error(start, pixels(edge))
