"""The steps that a scheduler is set to: their noise levels, and where a run begins.

A scheduler says how noisy a step is in its own way. Here it is always the share of noise in the
latents, 1 at pure noise and 0 at the image: the flow time of a rectified flow, and the square root
of ``1 - alpha_bar`` of a variance-preserving diffusion (Ho et al. 2020, eq. 4).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from ditscope.errors import UnsupportedError


def noise_levels(scheduler: Any) -> list[float]:
    """Noise level of each of the scheduler's timesteps.

    Raises:
        UnsupportedError: a flow's times go beyond 1, which contradicts that they are shares of noise.
    """
    sigmas = [float(sigma) for sigma in scheduler.sigmas][: len(scheduler.timesteps)]
    if is_flow(scheduler):
        if max(sigmas) > 1 + 1e-6:
            raise UnsupportedError(
                f"scheduler {type(scheduler).__name__} with times of a flow up to {max(sigmas):g}",
                "times from 1 at noise to 0 at the image",
                "Set use_flow_sigmas=True and no other kind of sigmas in its config.",
            )
        return sigmas
    return [sigma / math.hypot(1.0, sigma) for sigma in sigmas]


def is_flow(scheduler: Any) -> bool:
    """Whether the scheduler's sigmas are times of a rectified flow."""
    config = scheduler.config
    return (
        type(scheduler).__name__.startswith("FlowMatch")
        or bool(config.get("use_flow_sigmas"))
        or config.get("prediction_type") == "flow_prediction"
    )


def step_clock(scheduler: Any) -> int:
    """Index of the timestep that the scheduler is at."""
    if scheduler.step_index is not None:
        return int(scheduler.step_index)
    return int(scheduler.begin_index or 0)


def require_step_clock(scheduler: Any) -> None:
    """Refuse a scheduler that calls the model several times a step, or does not count its steps.

    Raises:
        UnsupportedError: naming the scheduler.
    """
    name = type(scheduler).__name__
    if getattr(scheduler, "order", 1) != 1:
        raise UnsupportedError(
            f"scheduler {name} of order {scheduler.order}",
            "a scheduler that calls the transformer once a step",
            "Use FlowMatchEulerDiscreteScheduler or DPMSolverMultistepScheduler.",
        )
    missing = [part for part in ("sigmas", "step_index", "begin_index") if not hasattr(scheduler, part)]
    if missing:
        raise UnsupportedError(
            f"scheduler {name} without {', '.join(missing)}",
            "a scheduler that counts its steps and knows their noise",
            "Use FlowMatchEulerDiscreteScheduler or DPMSolverMultistepScheduler.",
        )


def require_paired_noise(pipeline: Any) -> None:
    """Refuse a scheduler that draws noise which no seed of the call decides: two runs would not be the same.

    Raises:
        UnsupportedError: naming the scheduler.
    """
    scheduler = pipeline.scheduler
    name, config = type(scheduler).__name__, scheduler.config
    draws = (
        name == "FlowMatchLCMScheduler"
        or bool(config.get("stochastic_sampling"))
        or str(config.get("algorithm_type")).startswith("sde")
    )
    # Pipelines with this method pass the call's generators on to the scheduler.
    if draws and not hasattr(pipeline, "prepare_extra_step_kwargs"):
        raise UnsupportedError(
            f"scheduler {name}, which draws noise from torch's global generator at every step",
            "noise that the call's seeds decide",
            "Use FlowMatchEulerDiscreteScheduler without stochastic_sampling.",
        )


class GlobalNoise(NamedTuple):
    """State of torch's own generators from which a pipeline may draw that computes on a device."""

    device: torch.device
    state: torch.Tensor


def global_noise(device: torch.device) -> GlobalNoise:
    """The state as it is now."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return GlobalNoise(device, torch.cat(states))


def require_seeded(pipeline: Any, before: GlobalNoise, *, started: bool) -> None:
    """Refuse a call with seeds that has drawn from torch's own generators: another run would not be its pair.

    Args:
        pipeline: the pipeline.
        before: :func:`global_noise` when the call began.
        started: whether its first step has begun.

    Raises:
        UnsupportedError: naming the pipeline.
    """
    if not torch.equal(before.state, global_noise(before.device).state):
        when = (
            "in its steps, as a callback, a hook or a scheduler of one's own does"
            if started
            else "before its first step, as where it encodes a picture"
        )
        raise UnsupportedError(
            f"a {type(pipeline).__name__} that draws noise from torch's global generator {when}",
            "noise that the call's seeds decide",
            "Draw from a torch.Generator that is seeded for each run."
            if started
            else "Use a pipeline that passes its generator on, such as FLUX.1's.",
        )


def require_own_schedule(scheduler: Any, call: Mapping[str, Any]) -> None:
    """Refuse steps of the caller's own, ``sigmas=`` or ``timesteps=``, that the scheduler cannot be set to.

    Raises:
        UnsupportedError: naming the argument and the scheduler.
    """
    taken = inspect.signature(scheduler.set_timesteps).parameters
    for name in ("sigmas", "timesteps"):
        # Flow sigmas of diffusers' multistep solvers are made from a number of steps, whatever the timesteps.
        counted = name == "timesteps" and scheduler.config.get("use_flow_sigmas")
        if call.get(name) is not None and (name not in taken or counted):
            raise UnsupportedError(
                f"{name}= with scheduler {type(scheduler).__name__}, which makes its own",
                f"a scheduler that can be set to {name}",
                f"Leave {name}= out, or use FlowMatchEulerDiscreteScheduler if the model is a flow.",
            )


def require_plain_start(scheduler: Any) -> None:
    """Refuse a schedule that the scheduler enters at its second step, once it has been set.

    Where a pipeline does not say where to begin, diffusers looks the first timestep up, and takes the
    second place of one that comes twice.

    Raises:
        UnsupportedError: the first timestep comes twice.
    """
    timesteps = [float(timestep) for timestep in scheduler.timesteps]
    if scheduler.begin_index is None and timesteps.count(timesteps[0]) > 1:
        raise UnsupportedError(
            f"timestep {timesteps[0]:g} first and once more in the schedule",
            "a first timestep that comes once",
            "Pass sigmas= or timesteps= that fall from the first on.",
        )
