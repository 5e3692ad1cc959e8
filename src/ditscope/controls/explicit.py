"""Channels that are named, as a control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import Address


def explicit(channels: Mapping[Address, Iterable[int]] | Iterable[int], **named: Any) -> ChannelSet:
    """Channel ids as a control; ``named`` as of :meth:`ditscope.ChannelSet.of`.

    Examples:
        >>> ds.controls.explicit([3, 77]).control
        True
    """
    return ChannelSet.of(channels, **{"control": True, **named})
