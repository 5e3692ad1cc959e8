"""Hidden states of a reference image: of its tokens, which go through the blocks behind the generated image's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from ditscope import checks
from ditscope.checks import several
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.pipeline_call import call_parameters
from ditscope.recording.capture import Capture, captured
from ditscope.recording.image_latents import pixels_of
from ditscope.recording.selection import Selection
from ditscope.tracing.probe import probe
from ditscope.tracing.prompt_embeds import Prompt

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

PICTURES = (PIL.Image.Image, np.ndarray)


def capture_reference(
    dit: DiT,
    image: Any,
    which: int | None,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    kept: dict[str, Any],
    call: dict[str, Any],
) -> Capture:
    """The hidden states of a reference image's tokens; see :func:`ditscope.recording.capture_image.capture_image`.

    Args:
        dit: the model.
        image: the reference image, or several.
        which: position among several.
        prompts: of the samples.
        seeds: of the samples, which are prompts x seeds.
        kept: what is kept, and ``memory_budget``.
        call: further arguments of the pipeline.

    Raises:
        InputError: no images; another image beside them; several without ``which``; a size other than the run's.
        UnsupportedError: the pipeline passes its transformer no tokens of a reference image.
    """
    kind = type(dit.diffusers_pipeline)
    beside = [name for name, value in call.items() if "image" in name and value is not None]
    if beside:
        raise InputError(
            f"{', '.join(beside)} beside a reference image",
            "the reference image alone",
            "Capture the generated image's tokens with ds.capture, or leave it out.",
        )
    pictures = [PIL.Image.fromarray(pixels_of(each)) for each in several(image, PICTURES)]
    n_found = 0
    if "image" in call_parameters(kind):
        call = {**call, "image": pictures[0] if isinstance(image, PICTURES) else pictures}
        try:
            looked = probe(dit, [(prompts[0], seeds[0])], **call)
        except IndexError as error:  # of a pipeline that looks for as many prompts as there are images
            raise InputError(
                f"{len(pictures)} images for one prompt of {kind.__name__} ({error})",
                "as many as the pipeline takes for one prompt",
                "Pass a single image.",
            ) from error
        inputs = dit.run_state.inputs
        n_found = len(inputs.grids) - 1
    if not n_found:
        raise UnsupportedError(
            f"method='reference' on {kind.__name__}, whose transformer is passed no tokens of a reference image",
            "a pipeline that puts them behind the generated image's, as FluxKontextPipeline does",
            "Pass method='noise', or image= to ds.capture where the pipeline takes one.",
        )
    if n_found != len(pictures) or (which is None and n_found > 1):
        raise InputError(
            f"{len(pictures)} images, which={which}, and tokens of {n_found} reference images",
            "an image for each, and which of them is captured",
            "Pass which=0, say.",
        )
    number = 1 + checks.whole_number("which", which or 0, 0, n_found - 1)
    (height, width), own = inputs.grids[number], looked.grid
    if (height, width) != own:
        pixels = f"height={height * dit.token_pixels}, width={width * dit.token_pixels}"
        raise InputError(
            f"a reference image of {height} x {width} tokens and a generated one of {own[0]} x {own[1]}",
            "one size of both",
            f"Pass {pixels}, which the pipeline makes of this image, and the image resized to that, or an image of "
            f"which it makes {looked.image_size[0]} x {looked.image_size[1]} pixels.",
        )
    clean = inputs.as_tokens(inputs["hidden_states"], number)[0].float().cpu().numpy()
    budget = {name: kept.pop(name) for name in ("memory_budget",) if name in kept}
    shown = {"images": pixels_of(pictures[number - 1], looked.image_size), "trajectory/latents": clean}
    made = captured(dit, Selection.of(dit, **kept), prompts, seeds, call, **budget, image=number, shown=shown)
    return made.noted(image={"method": "reference", "which": number - 1})
