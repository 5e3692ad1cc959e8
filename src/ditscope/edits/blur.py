"""Blur channels over the image."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import torch
from torch.nn import functional

from ditscope.checks import finite_number
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError
from ditscope.vocabulary import SITES

__all__ = ["Blur", "blur"]


class Blur(Edit):
    """Channels blurred by a Gaussian over the grid of image tokens."""

    deviation: float

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "deviation", finite_number("deviation", self.deviation))
        if self.deviation <= 0:
            raise InputError(f"deviation={self.deviation:g}", "a number above 0, in tokens", "Pass 1.0, say.")
        if self.scope.stream != "image" or not SITES[self.scope.site].has_tokens:
            raise InputError(
                f"blur of the {self.scope.stream} stream at {self.scope.site}",
                "the image stream at a site with tokens, which have a grid",
                "Drop stream= and site=.",
            )

    @property
    def has_grid(self) -> bool:
        """It is done on the grid of the image."""
        return True

    @property
    def words(self) -> str:
        """Such as ``blur by 1.5 tokens``."""
        return f"blur by {self.deviation:g} tokens"

    def values(self, context: EditContext) -> torch.Tensor:
        """Weighted means over all image tokens, along y and then x; the border's own tokens go on beyond it."""
        assert context.grid is not None
        height, width = context.grid
        planes = context.hidden[..., context.channels].float().transpose(1, 2)
        planes = planes.reshape(-1, 1, height, width)
        reach = math.ceil(3 * self.deviation)
        offsets = torch.arange(-reach, reach + 1, device=planes.device)
        weights = torch.exp(-0.5 * (offsets / self.deviation) ** 2)
        weights = weights / weights.sum()
        for shape, pad in (((-1, 1), (0, 0, reach, reach)), ((1, -1), (reach, reach, 0, 0))):
            padded = functional.pad(planes, pad, mode="replicate")
            planes = functional.conv2d(padded, weights.reshape(1, 1, *shape))
        blurred = planes.reshape(len(context.old), len(context.channels), -1).transpose(1, 2)
        return blurred[:, context.tokens]


def blur(channels: Any, deviation: float, **where: Unpack[Where]) -> Blur:
    """Blur channels by a Gaussian over the grid of image tokens, cut at three deviations.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all.
        deviation: of the Gaussian, in tokens.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``deviation`` is no finite number above 0, an unknown or empty part of the scope, or text.

    Examples:
        >>> blurred = ds.edits.blur(massive, 1.5, blocks="single.1")
    """
    return Blur.of(channels, where, deviation=deviation)
