"""Hidden states of a real image, against diffusers' own encoding, decoding and image-to-image pipelines."""

from __future__ import annotations

import functools

import numpy as np
import plain_hooks
import pytest
import torch
from diffusers import FluxImg2ImgPipeline
from family_calls import PROMPTS, size
from pictures import picture

import ditscope as ds
from ditscope.errors import UnsupportedError

N_STEPS = 3
KNOWN = ["flux", "chroma", "sd3", "cogview4", "lumina2", "auraflow"]
UNKNOWN = ["sana", "qwen-image", "flux2-klein", "pixart-sigma"]
UNGUIDED = {"flux": {"true_cfg_scale": 1.0}, "chroma": {"guidance_scale": 0.0}}


def call(name: str) -> dict:
    return {"num_inference_steps": N_STEPS, **size(name), **UNGUIDED.get(name, {"guidance_scale": 1.0})}


def shown(name: str) -> np.ndarray:
    """A picture of the run's size."""
    return np.asarray(picture(*size(name).values()))


@functools.cache
def latents(folder, name: str) -> torch.Tensor:
    """What plain diffusers encodes the picture into, before it is scaled."""
    vae = plain_hooks.opened(folder).vae
    pixels = torch.from_numpy(shown(name).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        return vae.encode(pixels).latent_dist.mode()


def require_round_trip(made, folder, name: str) -> None:
    """Require that the captured image is what plain diffusers encodes and decodes."""
    with torch.no_grad():
        decoded = plain_hooks.opened(folder).vae.decode(latents(folder, name)).sample
    expected = ((decoded / 2 + 0.5).clamp(0, 1) * 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(made.images.values.astype(float) - expected).max() <= 1


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_a_shift_of_the_latents_is_taken_off_before_the_pipeline_puts_it_back(folder_of, name) -> None:
    dit = ds.load(str(folder_of(name)))
    dit.diffusers_pipeline.vae.register_to_config(shift_factor=0.7)
    made = ds.capture_image(dit, shown(name), PROMPTS[0], **call(name))
    require_round_trip(made, folder_of(name), name)


@pytest.mark.parametrize("name", KNOWN)
def test_without_noise_the_image_is_what_the_autoencoder_makes_of_it(opened, folder_of, name) -> None:
    """A wrong scale, a token in a wrong place: the last latents would decode to another image."""
    made = ds.capture_image(opened(name), shown(name), PROMPTS[0], **call(name))
    require_round_trip(made, folder_of(name), name)
    assert made.config["image"]["reconstruction_error"] == [pytest.approx(0, abs=1e-6)]
    walk = made.trajectory["latents"].values[0]
    clean, start = walk[-1], walk[0]
    first, *others = made.schema.trajectory.steps
    eps = (start - (1 - first.sigma) * clean) / first.sigma
    for number, step in enumerate(others, 1):
        np.testing.assert_allclose(
            walk[number], (1 - step.sigma) * clean + step.sigma * eps, rtol=1e-4, atol=1e-4
        )


def test_a_step_reads_what_an_image_to_image_run_reads_there(opened, folder_of) -> None:
    """Of diffusers' own pipeline, whose first step is the second of the schedule."""
    made = ds.capture_image(opened("flux"), shown("flux"), PROMPTS[0], [3, 4], blocks=[2], **call("flux"))
    plain = FluxImg2ImgPipeline.from_pipe(plain_hooks.opened(folder_of("flux")))
    vae = plain.vae.config
    clean = (latents(folder_of("flux"), "flux") - vae.shift_factor) * vae.scaling_factor
    for sample, seed in enumerate((3, 4)):
        seen = plain_hooks.run(
            plain, "flux", [PROMPTS[0]], [seed], image=clean, strength=2 / N_STEPS, **call("flux")
        )
        read = made.values_at("image", "block_output", samples=[sample], step=1, branch="cond", block=2)
        assert np.array_equal(read, seen.hidden[0, 2, "image"].numpy())


@pytest.mark.parametrize("name", ["flux", "sd3", "auraflow"])
def test_what_is_captured_after_an_inversion_is_a_run_and_its_error_is_told(opened, folder_of, name) -> None:
    made = ds.capture_image(opened(name), shown(name), PROMPTS[0], method="inversion", **call(name))
    walk = made.trajectory
    lengths = np.diff([*walk["sigma"].values, 0.0])
    steps = np.diff(walk["latents"].values[0], axis=0)
    velocity = walk["transformer_output"].sel(branch="cond").values[0]
    np.testing.assert_allclose(steps, lengths[:, None, None] * velocity, rtol=1e-3, atol=1e-4)
    clean = (
        ds.capture_image(opened(name), shown(name), PROMPTS[0], **call(name))
        .trajectory["latents"]
        .values[0, -1]
    )
    distance = np.linalg.norm(walk["latents"].values[0, -1] - clean) / np.linalg.norm(clean)
    assert made.config["image"]["reconstruction_error"] == [pytest.approx(distance, rel=1e-4)]


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_pipeline_whose_latents_are_not_known_is_refused_by_name(opened, name) -> None:
    with pytest.raises(UnsupportedError, match="capture_image (on|with the (autoencoder|sampler))"):
        ds.capture_image(opened(name), shown(name), PROMPTS[0], **call(name))


def test_a_pipeline_that_takes_images_itself_is_refused_by_name(image_to_image) -> None:
    with pytest.raises(
        UnsupportedError, match="capture_image on FluxImg2ImgPipeline, which takes images itself"
    ):
        ds.capture_image(image_to_image, shown("flux"), PROMPTS[0], **call("flux"))


def test_inversion_under_guidance_is_refused(opened) -> None:
    guided = {**call("flux"), "true_cfg_scale": 3.0, "negative_prompt": "plain"}
    with pytest.raises(UnsupportedError, match="flow inversion with classifier-free guidance"):
        ds.capture_image(opened("flux"), shown("flux"), PROMPTS[0], method="inversion", **guided)


def test_inversion_where_the_sampler_turns_the_output_around_is_refused(opened) -> None:
    """Lumina2 takes steps along the negative of what its transformer gives."""
    with pytest.raises(UnsupportedError, match="a sampler of Lumina2 whose step 0"):
        ds.capture_image(
            opened("lumina2"), shown("lumina2"), PROMPTS[0], method="inversion", **call("lumina2")
        )
