"""Kinds of calls: image-to-image, reference images, several images a prompt, samplers, latents."""

from __future__ import annotations

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
)
from pictures import picture

import ditscope as ds
from ditscope.errors import UnsupportedError
from ditscope.models.configuration import read_configuration
from ditscope.recording.forecast import forecast_recording
from ditscope.tracing.run import run_traced

PROMPT = tiny.PROMPTS[0]
SIZE = {"height": 16, "width": 24}


CALL = {
    "image": picture(16, 24),
    "strength": 0.5,
    "num_inference_steps": 4,
    "max_sequence_length": 14,
    **SIZE,
}


def test_image_to_image_runs_the_last_steps_under_their_own_numbers(image_to_image, tmp_path) -> None:
    report = image_to_image.check(PROMPT, **CALL)
    assert report.ok, report
    with ds.record(image_to_image, tmp_path / "a.zarr", steps=[-1, 2]) as rec:
        cache = rec.generate(PROMPT, 0, **CALL)
    hidden = cache.hidden()
    assert list(hidden["step"].values) == [2, 3]
    scheduler = image_to_image.diffusers_pipeline.scheduler
    assert list(hidden["sigma"].values) == pytest.approx([float(s) for s in scheduler.sigmas[2:4]])
    assert cache.trajectory["latents"].sizes["step_boundary"] == 3
    assert cache.manifest["config"]["call"]["image"]["size"] == [24, 16]
    with (
        pytest.raises(ds.errors.InputError, match="steps 2 to 3"),
        ds.record(image_to_image, tmp_path / "b.zarr", steps=[0]) as rec,
    ):
        rec.generate(PROMPT, 0, **CALL)


def test_a_forecast_of_image_to_image_counts_the_steps_that_are_run(image_to_image, tmp_path) -> None:
    with ds.record(image_to_image, tmp_path / "a.zarr") as rec:
        promised = rec.forecast(PROMPT, 0, **CALL)
    configuration = read_configuration(image_to_image.name)
    assert forecast_recording(configuration, **SIZE, num_inference_steps=2, dtype="float32") == promised


def test_an_edit_counts_image_to_image_steps_as_the_scheduler_does(image_to_image) -> None:
    result = ds.compare(
        image_to_image, PROMPT, 0, edits={"late": ds.edits.zero([1], steps=[-1])}, metrics=["psnr"], **CALL
    )
    assert result["fired"].item() == len(image_to_image.blocks)
    early = {"early": ds.edits.zero([1], steps=[0])}
    with pytest.raises(ds.errors.InputError, match="found step 0; expected steps 2 to 3"):
        ds.compare(image_to_image, PROMPT, 0, edits=early, metrics=["psnr"], **CALL)


@pytest.mark.parametrize("name", ["flux2-klein-base", "flux2-dev"])
def test_tokens_of_reference_images_belong_to_no_stream(opened, tmp_path, name) -> None:
    dit, call = opened(name), {"image": [picture(64, 80)], "num_inference_steps": 2, **SIZE}
    report = dit.check(PROMPT, **call)
    assert report.ok, report
    seen = {}

    def at_visit(visit) -> None:
        for block in dit.blocks:
            seen[visit.index, block.index] = (block.image.shape[1], block.text.shape[1])
            block.image[:] *= 1.0

    run_traced(dit, [(PROMPT, 0)], at_visit, **call)
    assert set(seen.values()) == {(4 * 6, tiny.TINY[name].call["max_sequence_length"])}
    with_reference = dit.run_state.inputs["hidden_states"].shape[1]
    assert with_reference == 4 * 6 + 16 * 20


@pytest.mark.parametrize("image", [None, picture(20, 16)])
def test_kontext_runs_with_and_without_a_reference_image(kontext, tmp_path, image) -> None:
    call = {"image": image, "_auto_resize": False, "max_area": 16 * 24, "max_sequence_length": 14, **SIZE}
    report = kontext.check(PROMPT, **call)
    assert report.ok, report
    with ds.record(kontext, tmp_path / "a.zarr", streams=["image", "text"]) as rec:
        cache = rec.generate(PROMPT, 5, num_inference_steps=2, **call)
    assert kontext.run_state.inputs["hidden_states"].shape[1] == 4 * 6 + (0 if image is None else 5 * 4)
    assert cache.hidden("image").sizes["token"] == 4 * 6
    assert cache.hidden("text").sizes["token"] == 14
    edits = {"late": ds.edits.zero([1], steps=[-1])}
    result = ds.compare(kontext, PROMPT, 5, edits=edits, metrics=["psnr"], num_inference_steps=2, **call)
    assert result["fired"].item() == len(kontext.blocks)

    pipeline = DiffusionPipeline.from_pretrained(kontext.name)
    last, seen = pipeline.transformer.single_transformer_blocks[-1], []
    last.register_forward_hook(lambda module, args, output: seen.append(output[1][0, : 4 * 6].clone()))
    generator = [torch.Generator().manual_seed(5)]
    pipeline(prompt=[PROMPT], generator=generator, num_inference_steps=2, **call)
    found = cache.hidden("image").isel(sample=0, branch=0, block=-1).values
    assert np.array_equal(found, torch.stack(seen).numpy())


@pytest.mark.parametrize("name", ["flux", "sd3", "qwen-image", "flux2-klein-base"])
def test_several_images_of_a_prompt_are_rows_of_each_branch(opened, name) -> None:
    dit = opened(name)
    guided = {"true_cfg_scale": 2.0, "negative_prompt": "plain"} if name in ("flux", "qwen-image") else {}
    rows = []
    with dit.generate(
        PROMPT, seed=0, num_images_per_prompt=3, num_inference_steps=2, **SIZE, **guided
    ) as tracer:
        for visit in dit.visits(tracer):
            image = dit.blocks[0].image
            rows.append([(visit.step, branch, len(visit.rows(image, branch))) for branch in visit.branches])
        tracer.result.save()
    flat = [entry for visit in rows for entry in visit]
    assert sorted(flat) == [(step, branch, 3) for step in range(2) for branch in ("cond", "uncond")]


@pytest.mark.parametrize("name", ["sd3", "pixart-sigma", "sana", "flux", "flux2-dev"])
def test_the_trajectory_ends_at_the_latents_of_the_pipeline(opened, folder_of, tmp_path, name) -> None:
    dit = opened(name)
    size = {"height": 32, "width": 64} if name == "sana" else SIZE
    with ds.record(dit, tmp_path / "a.zarr", blocks=[0]) as rec:
        cache = rec.generate(PROMPT, 5, num_inference_steps=3, **size)
    pipeline = plain_hooks.opened(folder_of(name))
    generator = torch.Generator().manual_seed(5)
    arguments = {**tiny.TINY[name].call, **size, "num_inference_steps": 3, "output_type": "latent"}
    expected = pipeline(prompt=PROMPT, generator=generator, **arguments).images
    found = torch.from_numpy(cache.trajectory["latents"].values[0, -1])
    if expected.ndim == 4:  # [row, channel, y, x], by token and within it channel, row, column
        height, width = (cache.hidden().attrs[f"grid_{side}"] for side in ("height", "width"))
        edge = expected.shape[-1] // width
        patches = found.reshape(height, width, expected.shape[1], edge, edge)
        found = patches.permute(2, 0, 3, 1, 4).reshape(expected.shape[1:])
    assert torch.equal(found, expected[0].float())
    output = cache.trajectory["transformer_output"]
    assert output.shape[-2:] == cache.trajectory["latents"].shape[-2:]


def test_sigma_is_the_share_of_noise_whatever_the_sampler(opened, tmp_path) -> None:
    """PixArt's diffusion preserves variance: sigma is sqrt(1 - alpha_bar), and falls from 1 towards 0."""
    dit, visited = opened("pixart-sigma"), []
    run_traced(dit, [(PROMPT, 0)], visited.append, num_inference_steps=5, **SIZE)
    scheduler = dit.diffusers_pipeline.scheduler
    kept = scheduler.alphas_cumprod[[int(visit.timestep) for visit in visited]]
    assert [visit.sigma for visit in visited] == pytest.approx((1 - kept).sqrt().tolist(), rel=1e-3)
    assert 0.99 < visited[0].sigma <= 1.0


def test_a_sampler_that_does_not_count_its_steps_is_refused_by_name(opened, monkeypatch) -> None:
    dit = opened("pixart-sigma")
    assert isinstance(dit.diffusers_pipeline.scheduler, DPMSolverMultistepScheduler)
    monkeypatch.setattr(dit.diffusers_pipeline, "scheduler", DDIMScheduler())
    with pytest.raises(UnsupportedError, match="DDIMScheduler without sigmas, step_index"):
        run_traced(dit, [(PROMPT, 0)], num_inference_steps=2, **SIZE)
