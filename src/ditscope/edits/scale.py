"""Multiply channels by a factor."""

from __future__ import annotations

from typing import Any, Unpack

import torch

from ditscope.checks import finite_number
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where

__all__ = ["Scale", "scale"]


class Scale(Edit):
    """Channels times a factor."""

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", finite_number("factor", self.factor))

    @property
    def words(self) -> str:
        """Such as ``scale by 0.5``."""
        return f"scale by {self.factor:g}"

    def values(self, context: EditContext) -> torch.Tensor:
        """Old values times the factor."""
        return context.old * self.factor


def scale(channels: Any, factor: float, **where: Unpack[Where]) -> Scale:
    """Multiply channels by a factor: 1 changes nothing, 0 is :func:`zero`, -1 flips the sign.

    Args:
        channels: a ChannelSet, or channel ids for every block.
        factor: what to multiply by.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``factor`` is no finite number, or an unknown or empty part of the scope.
    """
    return Scale.of(channels, where, factor=factor)
