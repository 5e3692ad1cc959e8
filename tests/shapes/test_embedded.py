"""The trained files: what plain diffusers and transformers make of them, and whether they are good enough."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FluxPipeline

import ditscope as ds
from ditscope.metrics import ClipScorer
from ditscope.models.embedded import embedded_folder
from ditscope.shapes.oracle import load_oracle
from ditscope.shapes.quality import draw_images, judge, judge_oracle

FOLDER = embedded_folder()


@pytest.fixture(scope="module")
def generated():
    """48 fresh prompts, drawn in few steps."""
    prompts = ds.shapes.prompts(48, seed=77)
    return prompts, draw_images(ds.load("shapes"), prompts, seed=500, num_inference_steps=12)


def test_weights_are_safetensors_and_small() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weights) <= 32 * 2**20
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pkl", ".ckpt")]


def test_plain_diffusers_opens_it_and_agrees_bit_for_bit() -> None:
    prompt = ds.shapes.prompts(1, seed=5)[0]
    bare = DiffusionPipeline.from_pretrained(FOLDER)
    assert type(bare) is FluxPipeline
    call = json.loads((FOLDER / "ditscope.json").read_text())["call"] | {"num_inference_steps": 3}
    expected = bare(prompt, generator=torch.Generator().manual_seed(3), output_type="np", **call).images
    found = ds.load("shapes").generate(prompt, seed=3, num_inference_steps=3, output_type="np").images
    assert np.array_equal(found, expected)


def test_the_autoencoder_keeps_scenes() -> None:
    scenes = np.stack([scene.image for scene in ds.shapes.make_scenes(32, 4321)])
    model = AutoencoderKL.from_pretrained(FOLDER / "vae")
    pixels = torch.from_numpy(scenes).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    with torch.no_grad():
        decoded = model.decode(model.encode(pixels).latent_dist.mode()).sample
    error = (decoded.clamp(-1, 1) - pixels).square().mean(dim=(1, 2, 3))
    assert (10 * torch.log10(4.0 / error)).mean() > 30.0  # dB


def test_the_oracle_is_right_on_real_scenes_it_never_saw() -> None:
    table = judge_oracle(load_oracle(FOLDER), count=1000, seed=20_000)
    assert (table["right"] >= 0.99).all(), table


def test_generated_images_show_their_captions(generated) -> None:
    prompts, images = generated
    table = judge(load_oracle(FOLDER), images, prompts)
    recorded = json.loads((FOLDER / "quality.json").read_text())["generated"]
    for name in ("colours", "place", "shape"):
        # The recorded share came from 256 images at 20 steps; these are fewer and quicker.
        assert table.loc[name, "right"] >= recorded[name]["right"] - 0.15, table


def test_reference_masks_of_generated_images_cover_something(generated) -> None:
    prompts, images = generated
    shares = [
        ds.shapes.reference_mask(image, prompt).mean() for image, prompt in zip(images, prompts, strict=True)
    ]
    assert 0.02 < np.mean(shares) < 0.5


def test_the_scorer_prefers_the_right_caption(generated) -> None:
    prompts, images = generated
    scorer = ClipScorer.from_pretrained(str(FOLDER / "clip"))
    matched = scorer.score(images, prompts)
    shuffled = scorer.score(images, prompts[1:] + prompts[:1])
    assert (matched > shuffled).mean() > 0.9
