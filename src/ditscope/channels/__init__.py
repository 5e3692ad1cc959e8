"""Sets of channels: what a ranking gives and what an edit takes."""

from ditscope.channels.channel_set import ChannelSet

__all__ = ["ChannelSet"]
