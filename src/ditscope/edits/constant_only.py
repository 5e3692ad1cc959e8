"""Keep of channels what is the same at every token."""

from __future__ import annotations

from typing import Any, Unpack

from ditscope.edits.edit import Where
from ditscope.edits.mean import Mean

__all__ = ["constant_only"]


def constant_only(channels: Any, **where: Unpack[Where]) -> Mean:
    """Keep the mean over the edited tokens, the constant (DC) part of channels: their spatial layout is gone.

    It is :func:`~ditscope.edits.mean.mean` with each image's own means, as the edit under test and not as a control.
    Its counterpart is :func:`~ditscope.edits.variation_only.variation_only`. With one token it changes nothing.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: an unknown or empty part of the scope.

    Examples:
        >>> flat = ds.edits.constant_only(massive, blocks="single.1")
        >>> flat.control
        False
    """
    control = where.get("control", getattr(channels, "control", False))
    return Mean.of(channels, {**where, "control": control})
