"""What an edit sees at one place: the old values, and where and in whose image they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit

__all__ = ["EditContext"]

Sample = tuple[str | None, int | None]
"""Prompt and seed of one image; None where the call did not say it."""


@dataclass(frozen=True, eq=False)
class EditContext:
    """One place at which an edit acts: a visit, a branch, a block, a site and a stream.

    Attributes:
        old: the values to replace, a float32 copy ``[row, token, channel]``; a row is an image of the batch.
        hidden: the whole stream there before the edit ``[row, every token, every channel]``, in the model's dtype.
            It is the model's own: read it, do not write to it.
        visit: step, sigma and timestep.
        branch: ``cond`` or ``uncond``.
        block: the block.
        site: where in the block.
        stream: ``image`` or ``text``.
        samples: (prompt, seed) of each row.
        tokens: positions int64 ``[token]`` of the old values in the stream.
        channels: ids int64 ``[channel]`` of the old values.
    """

    old: torch.Tensor
    hidden: torch.Tensor
    visit: Visit
    branch: str
    block: Block
    site: str
    stream: str
    samples: tuple[Sample, ...]
    tokens: torch.Tensor
    channels: torch.Tensor


def samples_of(dit: DiT) -> tuple[Sample, ...]:
    """(prompt, seed) of each image of the run in progress."""
    run = dit.run_state
    if hasattr(run, "samples"):
        return tuple(run.samples)
    seeds = [generator.initial_seed() for generator in run.call["generator"]]
    return tuple(zip(run.call["prompt"], seeds, strict=True))
