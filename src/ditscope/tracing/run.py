"""One traced run of the pipeline with something done at every visit: what all tracing is made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ditscope.errors import InputError, VisitError, found_expected

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit

_OWNED = ("prompt", "generator", "seed", "output_type", "return_dict", "num_images_per_prompt", "latents")


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind.

    Attributes:
        images: uint8 ``[row, y, x, rgb]``.
        latents: float32 ``[row, step boundary, token, latent channel]``: before the first step and
            after each one; empty unless asked for.
    """

    images: np.ndarray
    latents: np.ndarray


def check_call(dit: DiT, call: dict[str, Any]) -> None:
    """Refuse pipeline arguments that the pipeline does not have, or that ditscope sets itself.

    Raises:
        InputError: one of them is among the call's arguments.
    """
    known = set(inspect.signature(type(dit.diffusers_pipeline).__call__).parameters) - {"self", *_OWNED}
    wrong = [name for name in call if name not in known]
    if wrong:
        raise InputError(
            found_expected(
                f"pipeline argument {', '.join(wrong)}",
                f"any of {', '.join(sorted(known))}",
                "Prompts and seeds are given as such, one image for each pair.",
            )
        )


def check_prompts(prompts: str | Sequence[str]) -> list[str]:
    """The prompts as a list.

    Raises:
        InputError: there are none, or one is not a non-empty string.
    """
    found = [prompts] if isinstance(prompts, str) else list(prompts)
    if not found or not all(isinstance(prompt, str) and prompt.strip() for prompt in found):
        bad = "no prompts" if not found else f"prompts {[p for p in found if not (isinstance(p, str) and p.strip())]!r}"
        raise InputError(found_expected(bad, "one or more non-empty strings", "Mend the list of prompts."))
    return found


def check_seeds(seeds: int | Sequence[int]) -> list[int]:
    """The seeds as a list.

    Raises:
        InputError: there are none, one is no integer, or one comes twice.
    """
    found = [seeds] if isinstance(seeds, int) else list(seeds)
    whole = all(isinstance(seed, int | np.integer) and not isinstance(seed, bool) for seed in found)
    if not found or not whole or len(set(found)) != len(found):
        raise InputError(
            found_expected(f"seeds {found!r}", "one or more different integers", "Pass seeds=range(4), say.")
        )
    return [int(seed) for seed in found]


def pair_samples(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Every prompt with every seed, prompt-major: the order of the ``sample`` dimension."""
    return [(prompt, seed) for prompt in prompts for seed in seeds]


def generators(dit: DiT, seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator for each image, so that an image does not depend on its neighbours' seeds."""
    device = dit.diffusers_pipeline._execution_device
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


def run_traced(
    dit: DiT,
    samples: Sequence[tuple[str, int]],
    at_visit: Callable[[Visit], None] | None = None,
    *,
    keep_latents: bool = False,
    **call: Any,
) -> Outcome:
    """Generate one batch, calling ``at_visit`` inside the trace at every visit of the transformer.

    Args:
        dit: the model.
        samples: (prompt, seed) of each image of the batch.
        at_visit: reads and writes blocks, in execution order.
        keep_latents: keep the latents at every step boundary.
        **call: further arguments of the pipeline.

    Raises:
        VisitError: the visits or the pipeline's own step counter do not match the schedule.
    """
    clock: list[tuple[int, torch.Tensor | None]] = []
    theirs = call.pop("callback_on_step_end", None)

    def at_step_end(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        clock.append((step, tensors["latents"].detach().float().cpu() if keep_latents else None))
        return theirs(pipeline, step, timestep, tensors) if theirs is not None else {}

    first: list[torch.Tensor] = []
    visited: list[Visit] = []
    arguments = {
        **call,
        "prompt": [prompt for prompt, _ in samples],
        "generator": generators(dit, [seed for _, seed in samples]),
        "output_type": "np",
        "callback_on_step_end": at_step_end,
    }
    with dit.generate(**arguments) as tracer:
        for visit in dit.visits(tracer):
            if keep_latents and not visited:
                first.append(dit.transformer.inputs[1]["hidden_states"].detach().float().cpu())
            visited.append(visit)
            if at_visit is not None:
                at_visit(visit)
        result = tracer.result.save()

    steps = [step for step, _ in clock]
    if steps != list(range(visited[-1].step + 1)):
        raise VisitError(
            found_expected(
                f"the pipeline's step counter at {steps}",
                f"steps 0 to {visited[-1].step} by the visit ledger",
                "The pipeline ends or repeats steps in a way that its family does not describe.",
            )
        )
    images = np.round(np.asarray(result.images) * 255.0).astype(np.uint8)
    latents = np.empty((len(samples), 0), np.float32)
    if keep_latents:
        boundaries = first + [tensor for _, tensor in clock if tensor is not None]
        latents = torch.stack(boundaries, dim=1).numpy()
    return Outcome(images=images, latents=latents)
