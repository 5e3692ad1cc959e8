"""What an edit sees at one place: the old values, and where and in whose image they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.pipeline_call import Sample
    from ditscope.models.visits import Visit

__all__ = ["EditContext"]


@dataclass(frozen=True, eq=False)
class EditContext:
    """One place at which an edit acts: a visit, a branch, a block, a site and a stream.

    Attributes:
        old: the values to replace, a float32 copy ``[row, token, channel]``; a row is an image of the batch.
            The energies are counted from it: an edit that writes to it is refused.
        real: bool ``[row, token]``, False where an old value is of padding, which no edit changes; None if none is.
        hidden: the whole stream there before the edit ``[row, every token, every channel]``, in the model's dtype,
            0 at padding. It may be the model's own: read it, do not write to it.
        visit: step, sigma and timestep.
        branch: ``cond`` or ``uncond``.
        block: the block.
        site: where in the block.
        stream: ``image`` or ``text``.
        samples: (prompt, seed) of each row; None where the call does not tell one, as with embeddings alone.
        tokens: positions int64 ``[token]`` of the old values in the stream.
        channels: ids int64 ``[channel]`` of the old values.
    """

    old: torch.Tensor
    real: torch.Tensor | None
    hidden: torch.Tensor
    visit: Visit
    branch: str
    block: Block
    site: str
    stream: str
    samples: tuple[Sample, ...]
    tokens: torch.Tensor
    channels: torch.Tensor
