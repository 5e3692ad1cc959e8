"""``capture_image``: hidden states of a real image, which no prompt made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ditscope import checks
from ditscope.errors import InputError
from ditscope.models.pipeline_call import step_callback
from ditscope.recording.capture import Capture, capture
from ditscope.recording.flow_inversion import inverted
from ditscope.recording.image_latents import (
    image_latents,
    noise,
    noised,
    packed,
    require_image_latents,
)
from ditscope.recording.record import Prompts
from ditscope.recording.reference_image import capture_reference
from ditscope.tracing.probe import probe
from ditscope.tracing.prompt_embeds import prompts_of
from ditscope.tracing.seeds import Seed, seeds_of

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

METHODS = ("noise", "inversion", "reference")
_KEPT = ("streams", "sites", "blocks", "steps", "branches", "channels", "memory_budget")


def capture_image(
    dit: DiT,
    image: Any,
    prompts: Prompts,
    seeds: Seed | Sequence[Seed] = 0,
    *,
    method: str = "noise",
    iterations: int = 1,
    which: int | None = None,
    **kept_and_call: Any,
) -> Capture:
    """The hidden states of a real image at every step, in memory, as of :func:`ditscope.capture`::

        source = ds.capture_image(dit, picture, "a photo of a dog", blocks="single.9", height=1024, width=1024)
        move = ds.edits.transport(source, massive, mask="source", blocks="single.9")
        source = ds.capture_image(kontext, dog, "the dog on a beach", method="reference", blocks="single.9")

    ``noise``: at each step the transformer reads the image's latents with as much noise as the step has,
    ``(1 - sigma) x + sigma eps``, where ``eps`` is what the seed makes, the same in all steps; the captured image is
    what the autoencoder makes of the latents. ``inversion``: the latents are led backwards along the model's own
    velocity to the first step's noise level (:func:`ditscope.recording.flow_inversion.inverted`), and sampled forwards
    from there. ``reference``: of a pipeline whose transformer is passed the tokens of reference images behind those of
    the image that it generates (FLUX.1 Kontext, FLUX.2, Qwen-Image-Edit), the hidden states of a reference image's own
    tokens, in a run with ``image=`` that generates as it does; they read the prompt and what is generated. What the
    paper of transport (arXiv 2605.13974) did is not known; all three are ours. Of the tokens that are generated from a
    reference image, ``ds.capture(dit, prompts, image=image)`` is the source.

    Args:
        dit: the model; a pipeline from text to image with ``AutoencoderKL`` and flow matching by Euler, but for
            ``reference``.
        image: a PIL image, or uint8 ``[y_pixel, x_pixel, rgb]``, of the run's height and width; a list of them where
            the pipeline takes several reference images.
        prompts: what the transformer is told with it: a description, or ``""`` where the pipeline takes that.
        seeds: of the noise; inversion needs none, and takes one as a label.
        method: ``noise``, ``inversion`` or ``reference``.
        iterations: of inversion, evaluations of the model in each step: the more, the smaller the error.
        which: position of the reference image among several, from 0; the others may have other sizes.
        **kept_and_call: what is kept, and pipeline arguments, as of :func:`ditscope.capture`, but for ``batch_size``,
            latents and a callback.

    Returns:
        The capture. ``config["image"]`` has the method, and ``reconstruction_error``: the distance of the last latents
        from the image's, over the size of the image's, which the autoencoder's own loss comes on top of. By
        ``reference``, ``images`` are the image itself, and ``trajectory`` has its latents, the same at all steps, and
        the transformer's output at its tokens, which the pipeline leaves unread.

    Raises:
        InputError: no image of the run's size; latents or a callback among the arguments; several seeds of inversion;
            a reference image that the pipeline gives another size than the generated one, and which sizes to pass.
        UnsupportedError: a pipeline that takes images itself, or whose latents or noise are not known; inversion under
            classifier-free guidance; ``reference`` on a pipeline without reference images.

    Examples:
        >>> image = cache.images.isel(sample=0).values
        >>> seen = ds.capture_image(dit, image, prompts[0], blocks="single", num_inference_steps=2)
    """
    checks.name_of("method", method, METHODS)
    checks.whole_number("iterations", iterations)
    kept = {name: value for name, value in kept_and_call.items() if name in _KEPT}
    call = {name: value for name, value in kept_and_call.items() if name not in _KEPT}
    callback = step_callback(dit.diffusers_pipeline)
    refused = [name for name in ("latents", callback, "batch_size") if name in call]
    if refused:
        raise InputError(f"{refused[0]}= in capture_image", "what is not its own to set", "Leave it out.")
    texts, numbers = prompts_of(prompts), seeds_of(seeds)
    if method == "reference":
        return capture_reference(dit, image, which, texts, numbers, kept, call)
    if which is not None:
        raise InputError(f"which={which!r} with method={method!r}", "method='reference'", "Leave it out.")
    if method == "inversion" and len(numbers) > 1:
        raise InputError(f"{len(numbers)} seeds of an inversion", "one, as a label", "Leave seeds out.")
    require_image_latents(dit)
    looked = probe(dit, [(texts[0], numbers[0])], **call)
    clean = image_latents(dit, image, looked)
    if method == "inversion":
        latents = torch.cat([inverted(dit, text, packed(dit, clean), iterations, **call) for text in texts])
        made = capture(dit, texts, numbers, latents=latents, **kept, **call)
    else:
        eps = noise(dit, numbers, clean)
        noising = _Noising(dit, clean, eps, looked.schedule.sigmas)
        latents = torch.cat([noising.at(0, row) for _ in texts for row in range(len(numbers))])
        call = {**call, "latents": latents, callback: noising}
        made = capture(dit, texts, numbers, **kept, **call)
    target = dit.run_state.inputs.as_tokens(packed(dit, clean)).float().cpu().numpy()
    last = made.trajectory["latents"].values[:, -1]
    errors = [float(np.linalg.norm(own - target[0]) / np.linalg.norm(target)) for own in last]
    return made.noted(image={"method": method, "iterations": iterations, "reconstruction_error": errors})


class _Noising:
    """A callback after which the next step reads the image with that step's noise."""

    def __init__(self, dit: DiT, clean: torch.Tensor, eps: torch.Tensor, sigmas: Sequence[float]) -> None:
        self._levels = [
            [packed(dit, noised(clean, row[None], sigma)) for sigma in (*sigmas, 0.0)] for row in eps
        ]
        self._n_runs = 0

    def at(self, boundary: int, row: int) -> torch.Tensor:
        """What is read at the step after a boundary, with one row of the noise."""
        return self._levels[row][boundary]

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        # Samples are prompts x seeds, one in a run.
        self._n_runs += step == 0
        return {"latents": self.at(step + 1, (self._n_runs - 1) % len(self._levels))}
