"""The trained files: what plain diffusers and transformers make of them, and whether they are good enough."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL, DiffusionPipeline, FluxPipeline, SanaPipeline

import ditscope as ds
from ditscope.metrics import ClipScorer
from ditscope.models.embedded import embedded_folder
from ditscope.shapes.oracle import load_oracle
from ditscope.shapes.quality import draw_images, judge, judge_oracle
from ditscope.shapes.training.autoencoder import scaled_latents

FOLDER, SANA = embedded_folder(), embedded_folder("shapes-sana")


def drawn(name: str, count: int, objects: int, steps: int):
    """Fresh prompts, and images drawn in few steps."""
    prompts = ds.shapes.prompts(count, seed=77, objects=objects)
    return prompts, draw_images(ds.load(name), prompts, seed=500, num_inference_steps=steps)


@pytest.fixture(scope="module")
def generated():
    """One object each."""
    return drawn("shapes", 16, 1, 5)


@pytest.mark.parametrize(("folder", "limit"), [(FOLDER, 32e6), (SANA, 16e6)])
def test_weights_are_safetensors_and_small(folder, limit) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weights) <= limit
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pkl", ".ckpt")]


@pytest.mark.parametrize(
    ("name", "folder", "kind"), [("shapes", FOLDER, FluxPipeline), ("shapes-sana", SANA, SanaPipeline)]
)
def test_plain_diffusers_opens_it_and_agrees_bit_for_bit(name, folder, kind) -> None:
    prompt = ds.shapes.prompts(1, seed=5)[0]
    bare = DiffusionPipeline.from_pretrained(folder)
    assert type(bare) is kind
    call = json.loads((folder / "ditscope.json").read_text())["call"] | {"num_inference_steps": 3}
    expected = bare(prompt, generator=torch.Generator().manual_seed(3), output_type="np", **call).images
    found = ds.load(name).generate(prompt, seed=3, num_inference_steps=3, output_type="np").images
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("folder", "kind", "n_objects"),
    [(FOLDER, AutoencoderKL, 1), (SANA, AutoencoderDC, 1), (SANA, AutoencoderDC, 2)],
)
def test_the_autoencoder_keeps_scenes(folder, kind, n_objects) -> None:
    scenes = np.stack([scene.image for scene in ds.shapes.make_scenes(32, 4321, n_objects=n_objects)])
    model = kind.from_pretrained(folder / "vae")
    images = torch.from_numpy(scenes).permute(0, 3, 1, 2)
    latents = scaled_latents(model, images) / model.config.scaling_factor + model.config.get(
        "shift_factor", 0
    )
    with torch.no_grad():
        decoded = model.decode(latents).sample
    error = (decoded.clamp(-1, 1) - (images / 127.5 - 1)).square().mean(dim=(1, 2, 3))
    assert (10 * torch.log10(4.0 / error)).mean() > 29.0  # dB


@pytest.mark.parametrize("n_objects", [1, 2])
def test_the_oracle_is_right_on_real_scenes_it_never_saw(n_objects) -> None:
    table = judge_oracle(load_oracle(FOLDER), count=700, seed=20_000, n_objects=n_objects)
    assert (table["right"] >= 0.99).all(), table


def test_generated_images_show_their_captions(generated) -> None:
    prompts, images = generated
    table = judge(load_oracle(FOLDER), images, prompts)
    recorded = json.loads((FOLDER / "quality.json").read_text())["generated"]
    for name in ("colours", "place", "shape"):
        # The recorded share came from 256 images at 20 steps; these are fewer and quicker.
        assert table.loc[name, "right"] >= recorded[name]["right"] - 0.15, table


@pytest.mark.parametrize(("objects", "rows"), [(1, "generated"), (2, "generated_two_objects")])
def test_the_sana_pipeline_binds_words_to_their_objects(objects, rows) -> None:
    prompts, images = drawn("shapes-sana", 8, objects, 5)
    table = judge(load_oracle(FOLDER), images, prompts)
    recorded = json.loads((SANA / "quality.json").read_text())[rows]
    assert recorded["all"]["right"] >= (0.97 if objects == 1 else 0.85)
    assert table.loc["all", "right"] >= recorded["all"]["right"] - 0.15, table
    scorer = ClipScorer.from_pretrained(str(FOLDER / "clip"))
    assert (scorer.score(images, prompts) > scorer.score(images, prompts[1:] + prompts[:1])).all()
    for image, prompt in zip(images, prompts, strict=True):
        masks = ds.shapes.reference_masks(image, prompt)
        assert len(masks) == objects
        assert (masks.mean(axis=(1, 2)) > 0.01).all()


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
