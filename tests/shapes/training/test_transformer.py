"""Training a generator: latents encoded once, the flow's direction, captions left out, and the coarse stage first."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ditscope.shapes import networks
from ditscope.shapes.training import transformer as training
from ditscope.shapes.training.autoencoder import scaled_latents
from ditscope.shapes.training.data import SceneSet, step_generator
from ditscope.shapes.training.generators import FluxGenerator, SanaGenerator

FEW = {"scenes": 4, "batch": 3}


@pytest.fixture
def small(monkeypatch) -> None:
    for name in ("COARSE", "FINE"):
        monkeypatch.setattr(training, name, dataclasses.replace(getattr(training, name), **FEW))


@pytest.fixture
def autoencoder():
    torch.manual_seed(1)
    model = networks.autoencoder().eval()
    model.register_to_config(shift_factor=0.25, scaling_factor=3.0)
    return model


def test_latents_are_those_of_the_stages_scenes_encoded_once(tmp_path, autoencoder) -> None:
    stage, path = dataclasses.replace(training.COARSE, **FEW), tmp_path / "latents"
    found = training.latents(stage, path, autoencoder, 4)
    scenes = SceneSet(4, 4 + 1, pixels=32)
    torch.testing.assert_close(found.latents, scaled_latents(autoencoder, scenes.images).to(torch.bfloat16))
    assert found.captions == scenes.captions
    assert torch.equal(training.latents(stage, path, networks.autoencoder(), 4).latents, found.latents)


@pytest.mark.parametrize("kind", [FluxGenerator, SanaGenerator])
def test_the_first_step_turns_the_velocity_from_the_scene_towards_the_noise(
    tmp_path, small, autoencoder, kind
) -> None:
    """All that an initialised transformer can learn is its last bias: by Adam's first step, a sign times the rate."""
    torch.manual_seed(4)
    sana = kind is SanaGenerator
    if sana:
        autoencoder = networks.autoencoder_dc().eval()
    trained = training.train_generator(
        tmp_path, kind(), autoencoder, steps=1, coarse_share=0.0, seed=4, device="cpu", compiled=False
    )
    assert not trained.training
    images = SceneSet(4, 4 + 1, pixels=64).images
    clean = kind.tokens(scaled_latents(autoencoder, images).to(torch.bfloat16)).float()
    random = step_generator(4, 0)
    rows = torch.randint(4, (3,), generator=random)
    torch.rand(3, 1, generator=random)  # which captions are left out
    velocity = torch.randn(clean[rows].shape, generator=random) - clean[rows]
    mean = velocity.mean(dim=(0, 2, 3) if sana else (0, 1))
    # The average that is kept holds an eleventh of the start, which is 0.
    torch.testing.assert_close(
        trained.transformer.proj_out.bias.detach(),
        mean.sign() * kind.rate / 400 * 10 / 11,
        rtol=1e-3,
        atol=0,
    )


def test_noise_text_and_target_belong_together(tmp_path, autoencoder) -> None:
    stage = dataclasses.replace(training.COARSE, scenes=4, batch=200)
    batches = training._Batches(stage, tmp_path, FluxGenerator(), autoencoder, 4, "cpu", 1)
    noisy, sigma, target, (t5_ids, clip_ids) = batches.of(7)
    clean = noisy - sigma[:, None, None] * target
    distances = (clean[:, None] - batches.latents.float()).abs().amax(dim=(2, 3))
    assert (distances.amin(dim=1) < 1e-4).all()
    rows = distances.argmin(dim=1)
    empty = (t5_ids == batches.empty[0]).all(dim=1)
    assert 0.02 < empty.double().mean() < 0.2  # a tenth
    for ids, all_ids, none in zip((t5_ids, clip_ids), batches.text, batches.empty, strict=True):
        assert torch.equal(ids[~empty], all_ids[rows][~empty])
        assert torch.equal(ids[empty], none.expand(int(empty.sum()), -1))


def test_the_coarse_stage_comes_first_and_has_its_share(tmp_path, small, autoencoder, monkeypatch) -> None:
    seen = []
    forward = FluxGenerator.forward
    monkeypatch.setattr(
        FluxGenerator, "forward", lambda self, *a: (seen.append(a[0].shape[1]), forward(self, *a))[1]
    )
    training.train_generator(
        tmp_path,
        FluxGenerator(),
        autoencoder,
        steps=4,
        coarse_share=0.25,
        seed=4,
        device="cpu",
        compiled=False,
    )
    assert seen == [64, 256, 256, 256]
