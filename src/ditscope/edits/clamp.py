"""Keep channels within limits."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch

from ditscope.checks import finite_number
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError

__all__ = ["Clamp", "clamp"]


class Clamp(Edit):
    """Channels cut off at limits; None for no limit on that side."""

    low: float | None = None
    high: float | None = None

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high"):
            limit = getattr(self, name)
            object.__setattr__(self, name, None if limit is None else finite_number(name, limit))
        low, high = self.low, self.high
        if (low is None and high is None) or (low is not None and high is not None and low > high):
            raise InputError(
                f"low={low}, high={high}",
                "a limit, or two in order",
                "Pass clamp(channels, -3.0, 3.0), say.",
            )

    @property
    def words(self) -> str:
        """Such as ``clamp to -3 ... 3 for``."""
        ends = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"clamp to {' ... '.join(ends).strip()} for"

    def values(self, context: EditContext) -> torch.Tensor:
        """Old values within the limits."""
        return context.old.clamp(self.low, self.high)


def clamp(
    channels: Any, low: float | None = None, high: float | None = None, **where: Unpack[Where]
) -> Clamp:
    """Keep channels within limits: what is beyond becomes the limit.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        low: least value, in the hidden state's own unit; None for none. Below all values it changes nothing.
        high: largest value, likewise.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: no limit, one that is no finite number, ``low`` above ``high``, or an unknown or empty part of the
            scope.

    Examples:
        >>> clamped = ds.edits.clamp(massive, -5.0, 5.0, blocks="single")
    """
    return Clamp.of(channels, where, low=low, high=high)
