"""Let every image token attend to itself alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import torch

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError
from ditscope.models.identity_attention import identity_attention as attended_alone
from ditscope.models.identity_attention import require_identity_attention

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT

__all__ = ["IdentityAttention", "identity_attention"]


class IdentityAttention(Edit):
    """Attention's output of image tokens as if each attended to itself alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.scope.stream, self.scope.site) != ("image", "attn_output"):
            raise InputError(
                f"identity attention at {self.scope.stream} {self.scope.site}",
                "image attn_output, which it is in place of",
                "Leave stream= and site= out.",
            )

    @property
    def label(self) -> str:
        """What it is."""
        return "identity attention"

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, blocks in which it is not known how values become attention's output."""
        super().check(dit, steps)
        for block in self.chosen(dit.blocks):
            require_identity_attention(block)

    def look(self, block: Block) -> torch.Tensor:
        """The output of such an attention, ``[row, token, channel]``."""
        return attended_alone(block)

    def values(self, context: EditContext) -> torch.Tensor:
        """The output of such an attention."""
        assert context.looked is not None
        return context.looked[:, context.tokens[:, None], context.channels].float()


def identity_attention(**where: Unpack[Where]) -> IdentityAttention:
    """Replace the self-attention map of image tokens by the identity: each puts out the projection of its own value.

    This is what perturbed-attention guidance does to its degraded branch (Ahn et al., arXiv 2403.17377;
    :func:`ditscope.guidance.perturbed_attention`). Where attention is over image and text together, an image token does
    not attend to the text either; diffusers' ``StableDiffusion3PAGPipeline`` leaves it that. The text's own attention
    stays. Of SD3.5-medium's two attentions it is the first, as there.

    Args:
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`. Stream and site are
            image ``attn_output``.

    Raises:
        InputError: an unknown or empty part of the scope, or another stream or site. Before a run, UnsupportedError for
            blocks that join attention and MLP, as FLUX's single ones, fused projections, and processors of one's own.

    Examples:
        >>> alone = ds.edits.identity_attention(blocks="double.2", steps=[0, 1])
    """
    return IdentityAttention.of(None, {"site": "attn_output", **where})
