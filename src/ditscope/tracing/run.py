"""One traced run of the pipeline with something done at every visit: what all tracing is made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ditscope import checks
from ditscope.errors import InputError, VisitError
from ditscope.models.pipeline_call import step_callback
from ditscope.tracing.samples import call_of

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit

_EMBEDDED_PROMPT = re.compile(r"(pooled_)?prompt_embeds(_\d+)?")
_OWNED = ("prompt", "generator", "seed", "output_type", "return_dict", "num_images_per_prompt", "latents")


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind.

    Attributes:
        images: uint8 ``[row, y, x, rgb]``.
        latents: float32 ``[row, step boundary, token, latent channel]``: before the first step, as the
            transformer is passed them, and after each one; empty unless asked for.
    """

    images: np.ndarray
    latents: np.ndarray


def check_call(dit: DiT, call: dict[str, Any]) -> None:
    """Refuse pipeline arguments that the pipeline does not have, or that ditscope sets itself.

    Raises:
        InputError: one of them is among the call's arguments, or a number of steps or a schedule is none.
    """
    parameters = inspect.signature(type(dit.diffusers_pipeline).__call__).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    known = named - {"self", *_OWNED}
    wrong = [name for name in call if name not in known]
    if wrong:
        raise InputError(
            f"pipeline argument {', '.join(wrong)}",
            f"any of {', '.join(sorted(known))}",
            "Prompts and seeds are given as such, one image for each pair.",
        )
    beside = [name for name in call if call[name] is not None and _EMBEDDED_PROMPT.fullmatch(name)]
    if beside:
        raise InputError(
            f"{', '.join(beside)} beside the prompts",
            "the prompts alone, which are what images are labelled and scored by",
            "Leave it out; dit.generate(prompt_embeds=...) runs embeddings.",
        )
    checks.whole_number("num_inference_steps", call.get("num_inference_steps", 1))
    for name in ("sigmas", "timesteps"):
        if call.get(name) is not None and not _is_schedule(call[name]):
            raise InputError(f"{name} {call[name]!r}", "a list of numbers", "Pass one for each step.")


def _is_schedule(values: Any) -> bool:
    array = np.asarray(values)
    return array.ndim == 1 and len(array) > 0 and array.dtype.kind in "iuf" and bool(np.isfinite(array).all())


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
        UnsupportedError: the pipeline is in a state that breaks the mapping of visits.
        VisitError: the visits or the pipeline's own step counter do not match the schedule.
    """
    clock: list[tuple[int, torch.Tensor | None]] = []
    callback = step_callback(dit.diffusers_pipeline)
    theirs = call.pop(callback, None)

    def at_step_end(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        changed = theirs(pipeline, step, timestep, tensors) if theirs is not None else {}
        keep(step, {**tensors, **changed}["latents"])
        return changed

    def at_step_end_plainly(step: int, timestep: Any, latents: torch.Tensor) -> None:
        if theirs is not None:
            theirs(step, timestep, latents)
        keep(step, latents)

    def keep(step: int, latents: torch.Tensor) -> None:
        clock.append((step, _copy(dit.run_state.inputs.as_tokens(latents)) if keep_latents else None))

    first: list[torch.Tensor] = []
    visited: list[Visit] = []
    arguments = {
        **call_of(dit, samples, call),
        "output_type": "np",
        callback: at_step_end if callback == "callback_on_step_end" else at_step_end_plainly,
    }
    with dit.generate(**arguments) as tracer:
        for visit in dit.visits(tracer):
            if keep_latents and not visited:
                first.append(_copy(dit.run_state.inputs.latents[: len(samples)]))
            visited.append(visit)
            if at_visit is not None:
                at_visit(visit)
        result = tracer.result.save()

    steps = [step for step, _ in clock]
    expected = visited[-1].step - visited[0].step + 1  # the pipeline counts the steps that it runs
    if steps != list(range(expected)):
        raise VisitError(
            f"the pipeline's step counter at {steps}",
            f"steps 0 to {expected - 1} by the visit ledger",
            "The pipeline ends or repeats steps in a way that its family does not describe.",
        )
    # A model that makes NaN makes black pixels; the hidden states tell where it began.
    images = np.round(np.nan_to_num(np.asarray(result.images)) * 255.0).astype(np.uint8)
    latents = np.empty((len(samples), 0), np.float32)
    if keep_latents:
        boundaries = first + [tensor for _, tensor in clock if tensor is not None]
        latents = torch.stack(boundaries, dim=1).numpy()
    return Outcome(images=images, latents=latents)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """A float32 copy on the CPU: the pipeline goes on writing into its own."""
    return tensor.detach().to("cpu", torch.float32, copy=True)
