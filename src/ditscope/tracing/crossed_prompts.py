"""Prompts whose text tokens are of one text and whose pooled text is of another, every text with every one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ditscope import checks
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.pipeline_call import call_parameters
from ditscope.tracing.prompt_embeds import EMBEDDING, PromptEmbeds

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_OWN = ("prompt", "num_images_per_prompt", "device", "do_classifier_free_guidance")


def crossed_prompts(
    dit: DiT, texts: Sequence[str], **call: Any
) -> tuple[list[PromptEmbeds], dict[str, list[str]]]:
    """Every text's tokens with every text's pooled vector, and the labels that tell them apart.

    FLUX.1's and SD3's modulation sees the prompt by the pooled vector alone, attention by the text tokens alone. So
    whether a channel follows the prompt is asked of each apart, in a balanced design.

    Args:
        dit: a model whose pipeline takes ``pooled_prompt_embeds``.
        texts: two or more.
        **call: pipeline arguments that the text encoders are given, such as ``max_sequence_length``.

    Returns:
        The prompts, tokens varying slowest; and ``text`` and ``pooled``, of which text each has its tokens and its
        pooled vector. One that has both of one text makes that text's image.

    Raises:
        InputError: fewer than two texts, one twice, or ``joint_attention_kwargs``, whose scale of a LoRA may reach the
            text encoders.
        UnsupportedError: a pipeline without pooled text.

    Examples:
        >>> crossed, labels = ds.crossed_prompts(dit, prompts[:2])
        >>> with ds.record(dit, "crossed.zarr", blocks="single.5", tensors=False) as rec:
        ...     stats = rec.generate(crossed, columns=labels, num_inference_steps=2).stats()
        >>> stats = stats.assign_coords({name: ("sample", values) for name, values in labels.items()})
        >>> shares = ds.passes.variance_components(stats, factors=["text", "pooled", "step"], statistic="mean_abs")
    """
    pipeline, texts = dit.diffusers_pipeline, checks.prompts(texts)
    if len(set(texts)) < max(len(texts), 2):
        raise InputError(
            f"{len(set(texts))} different texts of {len(texts)}", "two or more, each once", "Pass others."
        )
    if call.get("joint_attention_kwargs"):
        raise InputError(
            "joint_attention_kwargs to encode with", "none", "Set a LoRA's scale by set_adapters."
        )
    if "pooled_prompt_embeds" not in call_parameters(type(pipeline)):
        raise UnsupportedError(
            f"{type(pipeline).__name__}, whose prompt reaches the transformer by text tokens alone",
            "a pipeline that takes pooled_prompt_embeds, such as FLUX.1's",
            "Vary the prompt as a whole.",
        )
    taken, full_call = inspect.signature(pipeline.encode_prompt).parameters, dit.full_call(call)
    given = {
        name: full_call.get(name)
        for name in taken
        if name not in _OWN and not name.startswith("negative_") and not EMBEDDING.fullmatch(name)
    }
    if "do_classifier_free_guidance" in taken:
        given["do_classifier_free_guidance"] = False
    with torch.no_grad():
        encoded = {text: pipeline.encode_prompt(prompt=[text], **given) for text in texts}
    # Beside embeddings [1, token, channel] and pooled [1, channel] there may be ids of tokens.
    tokens, pooled = (
        {
            text: next(part for part in parts if part is not None and part.ndim == ndim and len(part) == 1)
            for text, parts in encoded.items()
        }
        for ndim in (3, 2)
    )
    pairs = [(text, other) for text in texts for other in texts]
    prompts = [
        PromptEmbeds(
            f"text of “{text}”, pooled of “{other}”",
            prompt_embeds=tokens[text],
            pooled_prompt_embeds=pooled[other],
        )
        for text, other in pairs
    ]
    return prompts, {"text": [text for text, _ in pairs], "pooled": [other for _, other in pairs]}
