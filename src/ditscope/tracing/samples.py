"""Samples: every prompt with every seed, and the generators that make an image the seed's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def pair_samples(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Every prompt with every seed, prompt-major: the order of the ``sample`` dimension."""
    return [(prompt, seed) for prompt in prompts for seed in seeds]


def generators(dit: DiT, seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator for each image, so that an image does not depend on its neighbours' seeds."""
    device = dit.diffusers_pipeline._execution_device
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]
