"""Samples: every prompt with every seed, and the part of a call that makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ditscope.models.pipeline_call import signature_defaults
from ditscope.tracing.prompt_embeds import Prompt, replaced, stacked
from ditscope.tracing.seeds import generators_of

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def pair_samples(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[tuple[Prompt, int]]:
    """Every prompt with every seed, prompt-major: the order of the ``sample`` dimension.

    Examples:
        >>> ds.tracing.pair_samples(["a", "b"], [0, 1])
        [('a', 0), ('a', 1), ('b', 0), ('b', 1)]
    """
    return [(prompt, seed) for prompt in prompts for seed in seeds]


def filled_call(dit: DiT, prompt: Prompt, call: Mapping[str, Any]) -> dict[str, Any]:
    """A call with the folder's defaults; without a default that a prompt's embeddings take the place of."""
    # A negative prompt, of which SANA has an empty one by default.
    defaults = {**signature_defaults(type(dit.diffusers_pipeline)), **dit.call_defaults}
    return {**dit.call_defaults, **dict.fromkeys(replaced(prompt, defaults)), **call}


def call_of(dit: DiT, samples: Sequence[tuple[Prompt, int]], call: Mapping[str, Any]) -> dict[str, Any]:
    """A call that makes one batch, an image for each (prompt, seed); it fills in the folder's defaults."""
    return {
        **filled_call(dit, samples[0][0], call),
        **stacked([prompt for prompt, _ in samples]),
        "generator": generators_of(dit.diffusers_pipeline, [seed for _, seed in samples]),
    }
