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
        acts: bool, of a shape that broadcasts to ``[row, token, channel]``, False where an old value stays whatever
            the edit returns: padding, and what the masks and sets of the other samples select; None if none does.
        hidden: the whole stream there before the edit ``[row, every token, every channel]``, in the model's dtype,
            0 at padding. It may be the model's own: read it, do not write to it.
        visit: step, sigma and timestep.
        branch: ``cond`` or ``uncond``.
        block: the block.
        site: where in the block.
        stream: ``image`` or ``text``.
        samples: (prompt, seed) of each row; None where the call does not tell one, as with embeddings alone.
        positions: of each row's sample among all samples of the run.
        tokens: positions int64 ``[token]`` of the old values in the stream.
        channels: ids int64 ``[channel]`` of the old values.
        grid: (height, width) of the image in tokens, where the edit's mask or values have one; else None.
        looked: what the edit's ``look`` gave, of the branch's rows ``[row, every token, channel]``.
        real: which tokens of the stream attention reads, bool ``[row, every token]``; None if all.
        earlier: for edits that look back, float32 ``[row, every token, every channel]``: what was here in the last step
            in which the edit did not act; at ``block_output``, what the block takes now and what it added then.
    """

    old: torch.Tensor
    acts: torch.Tensor | None
    hidden: torch.Tensor
    visit: Visit
    branch: str
    block: Block
    site: str
    stream: str
    samples: tuple[Sample, ...]
    positions: tuple[int, ...]
    tokens: torch.Tensor
    channels: torch.Tensor
    grid: tuple[int, int] | None = None
    real: torch.Tensor | None = None
    looked: torch.Tensor | None = None
    earlier: torch.Tensor | None = None

    def token_mean(self) -> torch.Tensor:
        """Mean of the old values over the tokens on which the edit acts, float32 ``[row, 1, channel]``."""
        if self.acts is None:
            return self.old.mean(dim=1, keepdim=True)
        acts = self.acts.expand(self.old.shape)
        n_tokens = acts.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.where(acts, self.old, 0.0).sum(dim=1, keepdim=True) / n_tokens
