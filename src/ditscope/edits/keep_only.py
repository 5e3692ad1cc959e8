"""Keep some channels, and zero or average all others."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch

from ditscope import checks
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError

__all__ = ["KeepOnly", "keep_only"]


class KeepOnly(Edit):
    """Every channel but those that are named is zeroed, or set to its mean over the edited tokens."""

    fill: str = "zero"

    spares_channels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.name_of("fill", self.fill, ("zero", "mean"))
        if self.channels is None:
            raise InputError("no channels to keep", "channels", "Pass a ChannelSet, or channel ids.")

    @property
    def words(self) -> str:
        """``zero all but`` or ``mean of all but``."""
        return f"{'zero' if self.fill == 'zero' else 'mean of'} all but"

    def values(self, context: EditContext) -> torch.Tensor:
        """What takes the place of the other channels."""
        return torch.zeros_like(context.old) if self.fill == "zero" else context.token_mean()


def keep_only(channels: Any, fill: str = "zero", **where: Unpack[Where]) -> KeepOnly:
    """Keep channels, and zero or average all others: do these alone carry the image? All of them change nothing.

    SPARK's code calls it zeroing what is not selected.

    Args:
        channels: a ChannelSet, or channel ids for every block: those that are kept.
        fill: ``zero``, or ``mean`` for each image's own mean over the edited tokens.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: an unknown ``fill``, no channels, or an unknown or empty part of the scope.

    Examples:
        >>> alone = ds.edits.keep_only(massive, blocks="single.5", fill="mean")
    """
    return KeepOnly.of(channels, where, fill=fill)
