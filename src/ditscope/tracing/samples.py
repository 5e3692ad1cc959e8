"""Samples: every prompt with every seed, and the part of a call that makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ditscope.models.pipeline_call import generators

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def pair_samples(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Every prompt with every seed, prompt-major: the order of the ``sample`` dimension."""
    return [(prompt, seed) for prompt in prompts for seed in seeds]


def call_of(dit: DiT, samples: Sequence[tuple[str, int]], call: dict[str, Any]) -> dict[str, Any]:
    """A call that makes one batch, an image for each (prompt, seed); it fills in the folder's defaults."""
    return {
        **dit.call_defaults,
        **call,
        "prompt": [prompt for prompt, _ in samples],
        "generator": generators(dit.diffusers_pipeline, [seed for _, seed in samples]),
    }
