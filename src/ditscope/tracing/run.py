"""One traced run of the pipeline with something done at every visit: what all tracing is made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

from ditscope import checks
from ditscope._display import quoted
from ditscope.checks import several
from ditscope.errors import InputError, VisitError
from ditscope.models.pipeline_call import call_parameters, step_callback
from ditscope.models.schedule import require_seeded
from ditscope.tracing.prompt_embeds import EMBEDDING, Prompt
from ditscope.tracing.samples import call_of

if TYPE_CHECKING:
    from ditscope.encoded_text import EncodedText
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit

_OWNED = {
    "prompt": "Prompts are given as such; a list has several.",
    "seed": "Seeds are given as such, one image for each prompt and seed.",
    "generator": "Pass seeds=generator, or a list of them: each draws for one image of every prompt, in the state "
    "that it is in. Of one that draws for several images, pass the noise as latents=.",
    "num_images_per_prompt": "Pass seeds=range(n), or n generators, for n images of each prompt, and "
    "batch_size=n to make them at once.",
    "return_dict": "Leave it out.",
}
"""Arguments that ditscope sets itself, and what to do instead of passing them."""


LATENT = "latent"
"""The one ``output_type`` that a call may name: the run ends with its latents, and there are no images."""

STOP = object()
"""What a function at a visit returns so that the run ends there."""

_CALLBACK_INPUTS = "callback_on_step_end_tensor_inputs"


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind.

    Attributes:
        images: uint8 ``[row, y, x, rgb]``; of no size where ``output_type="latent"`` leaves them out.
        latents: float32 ``[row, step boundary, token, latent channel]``: before the first step, as the
            transformer is passed them, and after each one; empty unless asked for.
        texts: what the text encoders were given of each row's prompt; None for what is not known.
    """

    images: np.ndarray
    latents: np.ndarray
    texts: list[EncodedText | None]


def check_call(dit: DiT, call: dict[str, Any]) -> None:
    """Refuse pipeline arguments that the pipeline does not have, or that ditscope sets itself.

    Raises:
        InputError: one of them is among the call's arguments, or one is of no use: a number of steps, a schedule, a
            callback, another output than latents, embeddings for an IP-Adapter that are not for all samples; or the
            model is none.
    """
    if not hasattr(dit, "diffusers_pipeline"):
        raise InputError(
            f"a {type(dit).__name__} as the model",
            "what ds.load returns, as the first argument",
            "Open it by ds.load: a name, a folder, or a pipeline in memory with name=.",
        )
    known = set(call_parameters(type(dit.diffusers_pipeline))) - {*_OWNED}
    wrong = [name for name in call if name not in known]
    if wrong:
        raise InputError(
            f"pipeline argument {', '.join(wrong)}",
            f"any of {', '.join(sorted(known))}",
            _OWNED.get(wrong[0], "Correct or leave it out."),
        )
    beside = [name for name in call if call[name] is not None and EMBEDDING.fullmatch(name)]
    if beside:
        raise InputError(
            f"{', '.join(beside)} beside the prompts",
            "the prompts alone, which are what images are labelled and scored by",
            "Pass ds.PromptEmbeds(label, prompt_embeds=...) as the prompt, with every embedding that there is.",
        )
    checks.whole_number("num_inference_steps", call.get("num_inference_steps", 1))
    for name in ("sigmas", "timesteps"):
        if call.get(name) is not None and not _is_schedule(call[name]):
            raise InputError(f"{name} {call[name]!r}", "a list of numbers", "Pass one for each step.")
    if call.get("output_type") not in (None, LATENT):
        raise InputError(
            f"output_type={call['output_type']!r}",
            f"{LATENT!r}, or none for images",
            "Leave it out: images come as uint8 [y, x, rgb].",
        )
    callback = call.get(step_callback(dit.diffusers_pipeline))
    if callback is not None and not callable(callback):
        raise InputError(f"callback {callback!r}", "a function", "Pass one that the pipeline could call.")
    _require_shared_embeddings(dit, call)


def _require_shared_embeddings(dit: DiT, call: Mapping[str, Any]) -> None:
    # diffusers repeats what it is passed for each row, and takes further rows for further images.
    guidance = dit.family.guidance
    n_rows = len(guidance.visited(dit.full_call(call))) if guidance.doubled else 1
    for name in (name for name in call if name.endswith("ip_adapter_image_embeds")):
        for tensor in several(call[name], torch.Tensor):
            if tensor is not None and len(tensor) != n_rows:
                raise InputError(
                    f"{len(tensor)} rows in {name}",
                    "a row for the image" + (", after one for its absence" if n_rows > 1 else ""),
                    "Embeddings of an IP-Adapter are for all samples: make a call for each image.",
                )


def _is_schedule(values: Any) -> bool:
    array = np.asarray(values.tolist() if isinstance(values, torch.Tensor) else values)
    return array.ndim == 1 and len(array) > 0 and array.dtype.kind in "iuf" and bool(np.isfinite(array).all())


def run_traced(
    dit: DiT,
    samples: Sequence[tuple[Prompt, int]],
    at_visit: Callable[[Visit], object] | None = None,
    *,
    keep_latents: bool = False,
    **call: Any,
) -> Outcome:
    """Generate one batch, calling ``at_visit`` inside the trace at every visit of the transformer.

    Args:
        dit: the model.
        samples: (prompt, seed) of each image of the batch.
        at_visit: reads and writes blocks, in execution order. Where it returns :data:`STOP` the run ends there, with no
            images, and without the latents after that step.
        keep_latents: keep the latents at every step boundary.
        **call: further arguments of the pipeline, ``output_type="latent"`` for no images.

    Raises:
        InputError: a callback that returns no dict.
        UnsupportedError: the pipeline is in a state that breaks the mapping of visits, or noise was drawn that the
            samples' seeds do not decide.
        VisitError: the visits or the pipeline's own step counter do not match the schedule.

    Examples:
        >>> sigmas = []
        >>> outcome = ds.tracing.run_traced(
        ...     dit, [(prompts[0], 0)], lambda visit: sigmas.append(visit.sigma), num_inference_steps=2
        ... )
        >>> outcome.images.shape, sigmas[0]
        ((1, 64, 64, 3), 1.0)
    """
    clock: list[tuple[int, torch.Tensor | None]] = []
    callback = step_callback(dit.diffusers_pipeline)
    theirs = call.pop(callback, None)
    # diffusers' own callbacks say themselves what they take, to a pipeline that sees them.
    own = theirs.tensor_inputs if isinstance(theirs, PipelineCallback | MultiPipelineCallbacks) else None
    wanted = own or call.get(_CALLBACK_INPUTS) or ["latents"]
    if callback == "callback_on_step_end":
        call[_CALLBACK_INPUTS] = list(dict.fromkeys([*wanted, "latents"]))

    def at_step_end(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        changed = {}
        if theirs is not None:
            changed = theirs(pipeline, step, timestep, {name: tensors[name] for name in wanted})
        if not isinstance(changed, dict):
            raise InputError(
                f"{type(changed).__name__} from the callback at step {step}",
                "a dict of what it changes",
                "Return callback_kwargs, or {} for nothing.",
            )
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
    stopped: list[Visit] = []
    arguments = {
        **call_of(dit, samples, call),
        "output_type": call.get("output_type") or "np",
        callback: at_step_end if callback == "callback_on_step_end" else at_step_end_plainly,
    }
    with dit.generate(**arguments) as tracer:
        for visit in dit.visits(tracer):
            if keep_latents and not visited:
                first.append(_copy(dit.run_state.inputs.latents[: len(samples)]))
            visited.append(visit)
            if at_visit is not None and at_visit(visit) is STOP:
                stopped.append(visit)
                tracer.stop()
        result = tracer.result.save()

    require_seeded(dit.diffusers_pipeline, dit.run_state.noise_before, started=True)
    steps = [step for step, _ in clock]
    # The pipeline counts the steps that it runs to their ends.
    expected = visited[-1].step - visited[0].step + (not stopped)
    if steps != list(range(expected)):
        raise VisitError(
            f"the pipeline's step counter at {steps}",
            f"steps 0 to {expected - 1} by the visit ledger",
            "The pipeline ends or repeats steps in a way that its family does not describe.",
        )
    images = np.empty((len(samples), 0, 0, 3), np.uint8)
    if arguments["output_type"] != LATENT and not stopped:
        # A model that makes NaN makes black pixels; the hidden states tell where it began.
        images = np.round(np.nan_to_num(np.asarray(result.images)) * 255.0).astype(np.uint8)
    latents = np.empty((len(samples), 0), np.float32)
    if keep_latents:
        boundaries = first + [tensor for _, tensor in clock if tensor is not None]
        latents = torch.stack([tensor.cpu() for tensor in boundaries], dim=1).numpy()
    return Outcome(images=images, latents=latents, texts=dit.run_state.texts)


def warn_of_truncated(prompts: Iterable[str]) -> None:
    """Warn of prompts that were cut in every text encoder, if there are any."""
    cut = list(dict.fromkeys(prompts))
    if cut:
        warnings.warn(
            f"{len(cut)} prompts are longer than every text encoder takes, and the images are of their beginnings: "
            f"{quoted(cut)}. Raise max_sequence_length, or shorten them.",
            stacklevel=3,
        )


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """A float32 copy, where the tensor is: the pipeline goes on writing into its own, and is not waited for."""
    return tensor.detach().to(torch.float32, copy=True)
