"""A prompt given as its embeddings, which stands wherever a prompt may."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ditscope import checks
from ditscope.checks import several
from ditscope.errors import InputError
from ditscope.models.pipeline_call import call_parameters

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

EMBEDDING = re.compile(r"(pooled_)?prompt_(embeds|embeds_mask|attention_mask)(_\d+)?")
"""Pipeline arguments that take the place of a prompt."""

_ARGUMENT = re.compile(rf"(negative_)?{EMBEDDING.pattern}")
_MASKS = ("prompt_embeds_mask", "prompt_attention_mask")


@dataclass(frozen=True, init=False, repr=False, eq=False)
class PromptEmbeds:
    """A prompt as embeddings, one row of each: a text that was encoded, mixed or optimized elsewhere.

    It stands where a prompt does, with texts in other calls, not in the same one.

    Args:
        label: what its samples are called. The manifest keeps a digest of each tensor under it.
        **tensors: the pipeline's arguments by name, each ``[1, ...]``: ``prompt_embeds`` and, as the pipeline wants
            them, ``pooled_prompt_embeds``, ``prompt_embeds_mask`` or ``prompt_attention_mask``, and
            ``negative_...`` of each, in place of a negative prompt.

    Attributes:
        label: as passed.
        tensors: as passed.

    Raises:
        InputError: an empty label, no ``prompt_embeds``, another argument, or what is no tensor of one row.

    Examples:
        >>> crossed, _ = ds.crossed_prompts(dit, prompts[:2])
        >>> embeds = ds.PromptEmbeds("my own", **crossed[1].tensors)
        >>> images = dit.generate_images(embeds, num_inference_steps=2)
    """

    label: str
    tensors: Mapping[str, torch.Tensor]

    def __init__(self, label: str, **tensors: torch.Tensor) -> None:
        checks.prompts([label])
        odd = [name for name in tensors if not _ARGUMENT.fullmatch(name)]
        if odd or "prompt_embeds" not in tensors:
            raise InputError(
                f"embeddings {', '.join(odd or tensors) or 'without names'}",
                "prompt_embeds=, and further embeddings and masks of the pipeline",
                "Name them as the pipeline's call does.",
            )
        for name, tensor in tensors.items():
            if not isinstance(tensor, torch.Tensor) or tensor.ndim < 2 or len(tensor) != 1:
                raise InputError(
                    f"{name} of shape {list(getattr(tensor, 'shape', ()))} as a {type(tensor).__name__}",
                    "a tensor of one row, [1, ...]",
                    "Make a PromptEmbeds of each row, with a label of its own.",
                )
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "tensors", dict(tensors))

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in self.tensors.items())
        return f"PromptEmbeds({self.label!r}, {shapes})"

    def text_tokens(self, padded: bool) -> int:
        """Text tokens of the longer of prompt and negative prompt; without padding unless ``padded``."""
        return max(
            self._tokens(sign, padded) for sign in ("", "negative_") if f"{sign}prompt_embeds" in self.tensors
        )

    def _tokens(self, sign: str, padded: bool) -> int:
        masks = [self.tensors[sign + mask] for mask in _MASKS if sign + mask in self.tensors]
        embedded = self.tensors[f"{sign}prompt_embeds"]
        return int(embedded.shape[1] if padded or not masks else masks[0].sum())


Prompt = str | PromptEmbeds
"""A text, or its embeddings; ``str()`` gives the label of both."""


def prompts_of(values: Any) -> Sequence[Prompt]:
    """One or several prompts: all of them texts, or all of them embeddings.

    Raises:
        InputError: there are none, both kinds are among them, an empty text, or a label or an argument of
            embeddings that does not fit the others.
    """
    given = several(values)
    embedded = [prompt for prompt in given if isinstance(prompt, PromptEmbeds)]
    if not embedded:
        return checks.prompts(given)
    if len(embedded) < len(given):
        raise InputError(
            f"{len(embedded)} of {len(given)} prompts as embeddings",
            "texts, or embeddings, in one call",
            "Encode the texts too, with dit.diffusers_pipeline.encode_prompt.",
        )
    for number, prompt in enumerate(embedded):
        if prompt.label in map(str, embedded[:number]):
            raise InputError(
                f"the label {prompt.label!r} twice", "a label for each PromptEmbeds", "Rename one."
            )
        if set(prompt.tensors) != set(embedded[0].tensors):
            raise InputError(
                f"{', '.join(sorted(prompt.tensors))} of {prompt.label!r}",
                f"{', '.join(sorted(embedded[0].tensors))}, as of {embedded[0].label!r}",
                "Pass the same arguments for each, or generate them in calls of their own.",
            )
    return embedded


def stacked(prompts: Sequence[Prompt]) -> dict[str, Any]:
    """The pipeline arguments of a batch of prompts: the texts, or the rows of each embedding.

    Raises:
        InputError: embeddings of several shapes.
    """
    embedded = [prompt for prompt in prompts if isinstance(prompt, PromptEmbeds)]
    if not embedded:
        return {"prompt": list(prompts)}
    require_one_shape(embedded)
    return {name: torch.cat([prompt.tensors[name] for prompt in embedded]) for name in embedded[0].tensors}


def require_one_shape(prompts: Sequence[Prompt]) -> None:
    """Refuse embeddings that cannot be in one batch.

    Raises:
        InputError: their shapes differ.
    """
    first: dict[str, tuple[PromptEmbeds, torch.Size]] = {}
    for prompt in (prompt for prompt in prompts if isinstance(prompt, PromptEmbeds)):
        for name, tensor in prompt.tensors.items():
            other, shape = first.setdefault(name, (prompt, tensor.shape))
            if tensor.shape != shape:
                raise InputError(
                    f"{name} of {prompt.label!r} of shape {list(tensor.shape)}",
                    f"{list(shape)}, as of {other.label!r} in the same batch",
                    "Pass batch_size=1, or pad them, with a mask where the pipeline takes one.",
                )


def replaced(prompt: Prompt, call: Mapping[str, Any]) -> list[str]:
    """Arguments of a call that have a prompt's embeddings in their place: texts, and embeddings of the same sign."""
    if isinstance(prompt, str):
        return []
    sign = "(negative_)?" if any(name.startswith("negative_") for name in prompt.tensors) else ""
    name = re.compile(rf"{sign}(prompt(_\d+)?|{EMBEDDING.pattern})")
    return [argument for argument in call if call[argument] is not None and name.fullmatch(argument)]


def refuse_unfit(dit: DiT, embedded: Prompt, call: Mapping[str, Any]) -> None:
    """Refuse embeddings that the pipeline does not take, or beside the texts or embeddings that they stand for.

    Raises:
        InputError: naming the argument.
    """
    if isinstance(embedded, str):
        return
    taken = call_parameters(type(dit.diffusers_pipeline))
    unknown = [name for name in embedded.tensors if name not in taken]
    if unknown:
        raise InputError(
            f"{', '.join(unknown)} of {embedded.label!r}",
            f"any of {', '.join(filter(_ARGUMENT.fullmatch, taken))}",
            f"{type(dit.diffusers_pipeline).__name__} takes no other embeddings.",
        )
    beside = replaced(embedded, call)
    if beside:
        raise InputError(
            f"{', '.join(beside)} beside {embedded!r}",
            "one of them",
            f"Leave {', '.join(beside)} out.",
        )
