"""Latents in the form of a pipeline's argument, beside diffusers' own functions."""

from __future__ import annotations

import torch
from diffusers import FluxPipeline
from pipeline_recording import PLAIN, PROMPTS

from ditscope.recording.image_latents import noise, noised, packed
from ditscope.tracing.probe import probe


def test_packing_and_noise_are_those_of_diffusers(dit) -> None:
    looked = probe(dit, [(PROMPTS[0], 3)], **PLAIN)
    clean = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(1))
    eps = noise(dit, [3, 8], clean)
    assert torch.equal(packed(dit, eps), FluxPipeline._pack_latents(eps, 2, 4, 16, 24))
    ran = dit.diffusers_pipeline.scheduler
    scheduler = type(ran).from_config(ran.config)  # one that has not begun
    scheduler.sigmas, scheduler.timesteps = ran.sigmas, ran.timesteps
    for step, sigma in enumerate(looked.schedule.sigmas):
        expected = scheduler.scale_noise(clean, scheduler.timesteps[step : step + 1], eps[:1])
        assert torch.equal(noised(clean, eps[:1], sigma), expected)
    assert torch.equal(eps[1:], torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(8)))
