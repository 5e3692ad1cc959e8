"""The steps that a scheduler is set to: their noise levels, and where a run begins.

A scheduler says how noisy a step is in its own way. Here it is always the share of noise in the
latents, 1 at pure noise and 0 at the image: the flow time of a rectified flow, and the square root
of ``1 - alpha_bar`` of a variance-preserving diffusion (Ho et al. 2020, eq. 4).
"""

from __future__ import annotations

import math
from typing import Any

from ditscope.errors import UnsupportedError, found_expected


def noise_levels(scheduler: Any) -> list[float]:
    """Noise level of each of the scheduler's timesteps."""
    sigmas = [float(sigma) for sigma in scheduler.sigmas][: len(scheduler.timesteps)]
    if is_flow(scheduler):
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
            found_expected(
                f"scheduler {name} of order {scheduler.order}",
                "a scheduler that calls the transformer once a step",
                "Use FlowMatchEulerDiscreteScheduler or DPMSolverMultistepScheduler.",
            )
        )
    missing = [part for part in ("sigmas", "step_index", "begin_index") if not hasattr(scheduler, part)]
    if missing:
        raise UnsupportedError(
            found_expected(
                f"scheduler {name} without {', '.join(missing)}",
                "a scheduler that counts its steps and knows their noise",
                "Use FlowMatchEulerDiscreteScheduler or DPMSolverMultistepScheduler.",
            )
        )
