"""What a plain hook and a step-end callback hear of a tiny pipeline's visits; nothing here uses ditscope.

A visit's step is the number of steps that had ended before it, counted by the callback, under the
index that the scheduler gave that step. Whose a row is, is known by its text embedding.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plain_hooks
import tiny
import torch

NEGATIVE = "plain"

CALLS: dict[str, dict[str, dict[str, Any]]] = {
    "flux": {"plain": {}, "guided": {"true_cfg_scale": 2.0, "negative_prompt": NEGATIVE}},
    "flux-embedded": {
        "plain": {"guidance_scale": 3.5},
        "guided": {"guidance_scale": 3.5, "true_cfg_scale": 2.0, "negative_prompt": NEGATIVE},
    },
    "flux2-klein-base": {"plain": {"guidance_scale": 1.0}, "guided": {"guidance_scale": 4.0}},
    "flux2-klein": {"plain": {"guidance_scale": 1.0}},
    "flux2-dev": {"plain": {"guidance_scale": 4.0}},
    "qwen-image": {"plain": {"true_cfg_scale": 1.0}, "guided": {"true_cfg_scale": 4.0}},
    **{
        name: {
            "plain": {"guidance_scale": 1.0},
            "guided": {"guidance_scale": 4.5, "negative_prompt": NEGATIVE},
        }
        for name in ("sana", "sd3", "sd3.5-medium", "pixart-sigma")
    },
}
"""Name -> calls without and with classifier-free guidance; some have none, or an embedded scale."""

VARIANCE_PRESERVING = ("pixart-sigma",)
"""Diffusions; the others are rectified flows, whose sigma is the share of noise as it is."""

CASES = [(name, guidance) for name, calls in CALLS.items() for guidance in calls]

# What reads the negative prompt where it is not the prompt's own way: klein's is empty, SANA instructs prompts only.
_NEGATIVES = {
    "flux2-klein-base": ("", {}),
    "sana": (NEGATIVE, {"complex_human_instruction": None}),
}


@dataclass(frozen=True)
class PlainVisit:
    """One call of the transformer.

    Attributes:
        ended: steps that had ended before it.
        timesteps: the timestep passed, by row.
        text: the text embedding passed, with padding, ``[row, token, channel]``.
        mask: which of its tokens are no padding, ``[row, token]``; None if all.
    """

    ended: int
    timesteps: list[float]
    text: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True)
class Tick:
    """The scheduler at the end of a step: that step's index, and its share of noise."""

    step: int
    sigma: float


@dataclass
class Heard:
    """A run's visits and steps."""

    visits: list[PlainVisit] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)

    def tick(self, visit: PlainVisit) -> Tick:
        """The step that a visit belongs to."""
        return self.ticks[visit.ended]


def size(name: str) -> dict[str, int]:
    """Height and width that are small, and not square."""
    return {"height": 32, "width": 64} if name == "sana" else {"height": 16, "width": 24}


def hear(pipeline: Any, name: str, prompts: list[str], **call: Any) -> Heard:
    """Run the bare pipeline with the call arguments that suit it, and listen."""
    heard = Heard()

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("encoder_hidden_states_mask", kwargs.get("encoder_attention_mask"))
        timesteps = kwargs["timestep"].flatten().tolist()
        text = kwargs["encoder_hidden_states"].clone()
        heard.visits.append(PlainVisit(len(heard.ticks), timesteps, text, mask))

    def at_step_end(*_: Any) -> dict[str, Any]:
        scheduler = pipeline.scheduler
        step = scheduler.step_index - 1
        sigma = float(scheduler.sigmas[step])
        if name in VARIANCE_PRESERVING:
            sigma = float((1 - scheduler.alphas_cumprod[int(scheduler.timesteps[step])]).sqrt())
        heard.ticks.append(Tick(step, sigma))
        return {}

    has = inspect.signature(type(pipeline).__call__).parameters
    callback = "callback_on_step_end" if "callback_on_step_end" in has else "callback"
    arguments = {**tiny.TINY[name].call, **size(name), **call}
    if isinstance(arguments.get("negative_prompt"), str):
        arguments["negative_prompt"] = [arguments["negative_prompt"]] * len(prompts)
    listening = pipeline.transformer.register_forward_pre_hook(before, with_kwargs=True)
    try:
        pipeline(
            prompt=prompts,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
            **{callback: at_step_end},
            **arguments,
        )
    finally:
        listening.remove()
    return heard


@functools.cache
def own_texts(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """What is passed to the transformer of each prompt, and of the negative one, in a run of its own.

    Without padding, ``[token, channel]``.
    """

    def text(prompt: str, **call: Any) -> torch.Tensor:
        plain = {**CALLS[name]["plain"], **call, "num_inference_steps": 1}
        alone = hear(plain_hooks.opened(folder), name, [prompt], **plain).visits[0]
        return alone.text[0] if alone.mask is None else alone.text[0, alone.mask[0].bool()]

    negative, call = _NEGATIVES.get(name, (NEGATIVE, {}))
    return {**{prompt: text(prompt) for prompt in tiny.PROMPTS}, "negative": text(negative, **call)}


def whose(row: torch.Tensor, texts: dict[str, torch.Tensor]) -> str:
    """The one text that a row begins with; batches differ in the last bits.

    The row's own mask is left alone: for several images of several prompts, diffusers orders SANA's and
    Qwen-Image's masks otherwise than their embeddings.
    """
    same = [
        owner
        for owner, text in texts.items()
        if len(text) <= len(row) and torch.allclose(text, row[: len(text)], rtol=1e-3, atol=1e-4)
    ]
    assert len(same) == 1, same
    return same[0]
