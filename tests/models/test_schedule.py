"""Noise levels of schedulers against the formulas and the noise that they add themselves; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PixArtSigmaPipeline,
    UniPCMultistepScheduler,
)

from ditscope.errors import UnsupportedError
from ditscope.models.schedule import noise_levels, require_paired_noise, step_clock

FLOW = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}


def test_the_level_of_a_flow_is_its_shifted_time() -> None:
    scheduler, times = FlowMatchEulerDiscreteScheduler(shift=3.0), np.array([1.0, 0.6, 0.1])
    scheduler.set_timesteps(sigmas=times.tolist())
    # The scheduler's last sigma, 0, is no step.
    assert noise_levels(scheduler) == pytest.approx(3 * times / (1 + 2 * times), rel=1e-6)


@pytest.mark.parametrize(
    "scheduler", [DPMSolverMultistepScheduler, UniPCMultistepScheduler, EulerDiscreteScheduler]
)
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_the_level_of_a_diffusion_is_the_root_of_what_alpha_bar_leaves(scheduler, spacing) -> None:
    made = scheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", timestep_spacing=spacing)
    made.set_timesteps(5)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    expected = np.sqrt(1 - alpha_bar[made.timesteps.int().numpy()])
    assert noise_levels(made) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scheduler", [DPMSolverMultistepScheduler, UniPCMultistepScheduler])
@pytest.mark.parametrize("config", [{}, {"use_karras_sigmas": True}, {"use_flow_sigmas": True}, FLOW])
def test_the_level_is_the_share_of_noise_that_the_scheduler_adds(scheduler, config) -> None:
    made = scheduler(**config)
    made.set_timesteps(4)
    noise = torch.ones(4, 1, dtype=torch.float64)
    added = made.add_noise(torch.zeros_like(noise), noise, made.timesteps)
    assert noise_levels(made) == pytest.approx(added[:, 0].tolist(), rel=1e-5)


@pytest.mark.parametrize(
    "scheduler",
    [
        DPMSolverMultistepScheduler(prediction_type="flow_prediction"),
        DPMSolverMultistepScheduler(**FLOW, use_karras_sigmas=True),
        UniPCMultistepScheduler(prediction_type="flow_prediction"),
    ],
)
def test_a_flow_with_the_sigmas_of_a_diffusion_is_refused(scheduler) -> None:
    scheduler.set_timesteps(4)
    with pytest.raises(UnsupportedError, match=f"{type(scheduler).__name__} with times of a flow up to"):
        noise_levels(scheduler)


def test_the_clock_begins_where_the_run_does_and_follows_its_steps() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    assert step_clock(scheduler) == 0
    scheduler.set_begin_index(2)
    seen = [step_clock(scheduler)]
    for timestep in scheduler.timesteps[2:]:
        scheduler.step(torch.zeros(1, 2, 2), timestep, torch.zeros(1, 2, 2))
        seen.append(step_clock(scheduler))
    assert seen == [2, 3, 4]


def test_noise_of_a_solver_needs_a_pipeline_that_passes_the_seeds_on(dit, monkeypatch) -> None:
    drawing = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")
    monkeypatch.setattr(dit.diffusers_pipeline, "scheduler", drawing)
    with pytest.raises(UnsupportedError, match="DPMSolverMultistepScheduler, which draws noise"):
        require_paired_noise(dit.diffusers_pipeline)
    others = dict.fromkeys(("tokenizer", "text_encoder", "vae", "transformer"))
    require_paired_noise(PixArtSigmaPipeline(**others, scheduler=drawing))
