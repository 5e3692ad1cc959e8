"""What short runs show of a pipeline's guidance, where no family describes it.

A call argument is the scale if a value above 1 gives the transformer twice the rows, or twice the visits,
that a value of 1 gives it. Of two branches, the one whose text embedding another prompt changes is ``cond``.
"""

from __future__ import annotations

from typing import Any

import torch

from ditscope.models.family import Guidance
from ditscope.models.module_arguments import named_arguments
from ditscope.models.pipeline_call import signature_defaults, step_callback
from ditscope.vocabulary import BRANCHES

SCALES = ("true_cfg_scale", "guidance_scale")
"""Call arguments that may scale classifier-free guidance; a pipeline with both embeds the second."""

GUIDED, UNGUIDED = 3.0, 1.0
OTHER_PROMPT = "white"


def guidance_of(pipeline: Any, prompt: str, **call: Any) -> Guidance | None:
    """The guidance that a pipeline shows, from up to six runs, of one step each unless asked for more.

    A run cannot tell what only another config of the pipeline would show, nor which embeddings stand for a
    negative prompt.

    Args:
        pipeline: a diffusers pipeline with a ``transformer``.
        prompt: what to generate.
        **call: further arguments of the pipeline.

    Returns:
        None where there are other than one or two branches, or the order of two cannot be seen.
    """
    defaults = signature_defaults(type(pipeline))
    call = {"num_inference_steps": 1, **call}
    wants_negative = defaults.get("negative_prompt", "") is None
    asked = {"negative_prompt": "", **call} if wants_negative else call
    embedded = False
    for scale in (name for name in SCALES if name in defaults):
        plain = _visits(pipeline, prompt, **{**asked, scale: UNGUIDED})
        guided = _visits(pipeline, prompt, **{**asked, scale: GUIDED})
        embedded |= any(visit.embedded for visit in guided)
        if _rows(plain) != 1:
            return None
        if _rows(guided) == 1:
            continue
        branches = _branches(guided, _visits(pipeline, OTHER_PROMPT, **{**asked, scale: GUIDED}))
        if branches is None:
            return None
        negatives: tuple[tuple[str, ...], ...] = ()
        if wants_negative:
            without = _visits(pipeline, prompt, **{**asked, scale: GUIDED, "negative_prompt": None})
            negatives = (("negative_prompt",),) if _rows(without) == 1 else ()
        return Guidance(branches, scale, negatives, doubled=len(guided) == 1, embedded=embedded)
    return Guidance(("cond",), None, embedded=embedded)


class _Visit:
    """One call of the transformer: its rows, their text embeddings, and whether a scale is embedded."""

    def __init__(self, given: dict[str, Any]) -> None:
        text = given.get("encoder_hidden_states")
        self.text = list(text.detach().clone()) if isinstance(text, torch.Tensor) else []
        latents = given.get("hidden_states")
        self.n_rows = len(latents) if isinstance(latents, torch.Tensor) else 0
        self.embedded = isinstance(given.get("guidance"), torch.Tensor)


def _visits(pipeline: Any, prompt: str, **call: Any) -> list[_Visit]:
    """The visits of a run's first step."""
    visits: list[_Visit] = []
    ended: list[None] = []

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if not ended:
            visits.append(_Visit(named_arguments(module, args, kwargs)))

    def at_step_end(*_: Any) -> dict[str, Any]:
        ended.append(None)
        return {}

    with pipeline.transformer.register_forward_pre_hook(before, with_kwargs=True):
        pipeline(prompt=prompt, output_type="latent", **call, **{step_callback(pipeline): at_step_end})
    return visits


def _rows(visits: list[_Visit]) -> int:
    return sum(visit.n_rows for visit in visits)


def _branches(visits: list[_Visit], others: list[_Visit]) -> tuple[str, ...] | None:
    """Names of two branches in the order of their rows or visits, from the runs of two prompts."""
    rows, changed = ([row for visit in run for row in visit.text] for run in (visits, others))
    if len(rows) != 2 or len(changed) != 2:
        return None
    names = tuple("uncond" if torch.equal(*pair) else "cond" for pair in zip(rows, changed, strict=True))
    return names if set(names) == set(BRANCHES) else None
