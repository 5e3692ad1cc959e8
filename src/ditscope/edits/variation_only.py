"""Keep of channels what differs from token to token."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch

from ditscope.checks import finite_number
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where

__all__ = ["VariationOnly", "variation_only"]


class VariationOnly(Edit):
    """Channels without their mean over the edited tokens, or without a share of it."""

    share: float = 1.0

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "share", finite_number("share", self.share))

    @property
    def words(self) -> str:
        """``variation of``, or such as ``take 0.5 of the mean from``."""
        return "variation of" if self.share == 1 else f"take {self.share:g} of the mean from"

    def values(self, context: EditContext) -> torch.Tensor:
        """Old values minus the share of their mean."""
        return context.old - self.share * context.token_mean()


def variation_only(channels: Any, share: float = 1.0, **where: Unpack[Where]) -> VariationOnly:
    """Keep the variation over the edited tokens, the AC part of channels: their level is gone, their layout stays.

    Attenuating the mean early is what DAVE does for diversity (arXiv 2606.06813).

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        share: of the mean that is taken away: 1 all of it, 0 changes nothing.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``share`` is no finite number, or an unknown or empty part of the scope.

    Examples:
        >>> layout = ds.edits.variation_only(massive, blocks="single.1")
    """
    return VariationOnly.of(channels, where, share=share)
