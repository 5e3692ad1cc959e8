"""Training autoencoders: they learn to keep scenes, and their latents come out with width 1, about 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ditscope.shapes import make_scenes, networks
from ditscope.shapes.training.autoencoder import scaled_latents, train_autoencoder

FEW = {"seed": 4, "device": "cpu", "scenes": 8, "batch": 2}
KINDS = {"autoencoder": networks.autoencoder, "autoencoder_dc": networks.autoencoder_dc}


def scenes(edge: int) -> torch.Tensor:
    images = np.stack([scene.image for scene in make_scenes(8, 4, pixels=edge)])
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@torch.no_grad()
def error(model, images: torch.Tensor) -> float:
    config = model.config
    latents = scaled_latents(model, images) / config.scaling_factor + config.get("shift_factor", 0)
    return float((model.decode(latents).sample - (images / 127.5 - 1)).square().mean())


@pytest.mark.parametrize("name", KINDS)
def test_latents_of_fine_scenes_come_out_with_width_1(tmp_path, name) -> None:
    model = train_autoencoder(tmp_path, steps=0, name=name, **FEW)
    pixels = scenes(64) / 127.5 - 1
    with torch.no_grad():
        encoded = model.encode(pixels)
    raw = (encoded.latent if name == "autoencoder_dc" else encoded.latent_dist.mean).double().numpy()
    shift = model.config.get("shift_factor", 0.0)  # SANA's has none
    found = scaled_latents(model, scenes(64)).double().numpy()
    np.testing.assert_allclose(found, (raw - shift) * model.config.scaling_factor, rtol=1e-4, atol=1e-5)
    assert found.std() == pytest.approx(1, abs=1e-3)
    assert found.mean() == pytest.approx(0 if name == "autoencoder" else raw.mean() / raw.std(), abs=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_steps_lessen_the_error_at_both_resolutions(tmp_path, name) -> None:
    torch.manual_seed(4)
    start = KINDS[name]().eval()
    model = train_autoencoder(tmp_path, steps=5, name=name, **FEW)
    assert not model.training
    for edge in (64, 32):
        assert error(model, scenes(edge)) < 0.999 * error(start, scenes(edge))
