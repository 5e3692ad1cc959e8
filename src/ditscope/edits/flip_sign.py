"""Flip the sign of channels."""

from __future__ import annotations

from typing import Any, Unpack

from ditscope.edits.edit import Where
from ditscope.edits.scale import Scale

__all__ = ["flip_sign"]


def flip_sign(channels: Any, **where: Unpack[Where]) -> Scale:
    """Multiply channels by -1: their energy stays, and what reads their sign is misled. Twice changes nothing.

    It is :func:`~ditscope.edits.scale.scale` by -1.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: an unknown or empty part of the scope.

    Examples:
        >>> ds.edits.flip_sign(massive, blocks="single.1") == ds.edits.scale(massive, -1.0, blocks="single.1")
        True
    """
    return Scale.of(channels, where, factor=-1.0)
