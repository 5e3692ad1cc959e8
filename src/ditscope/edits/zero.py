"""Set channels to zero."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where

__all__ = ["Zero", "zero"]


class Zero(Edit):
    """Zero in place of channels."""

    channelwise: ClassVar[bool] = True

    def values(self, context: EditContext) -> torch.Tensor:
        """Zeros."""
        return torch.zeros_like(context.old)


def zero(channels: Any, **where: Unpack[Where]) -> Zero:
    """Set channels to zero.

    Args:
        channels: a :class:`~ditscope.channels.channel_set.ChannelSet`, channel ids for every block, or channels of
            :mod:`ditscope.controls` that are chosen in the run; None for all channels.
        **where: ``blocks`` (indices, names such as ``single.5``, kinds such as ``single``), ``steps`` or ``sigmas``
            (least and largest noise level), ``branches``, ``stream``, ``site``, ``tokens`` (a mask, or one for each
            sample); see :class:`~ditscope.edits.scope.Scope`. ``control``: whether the edit is a control; by
            default it is one if its channels are. ``freeze_layernorm=True``: without the rescaling of the other
            channels; see :class:`~ditscope.edits.edit.Edit`.

    Raises:
        InputError: an unknown or empty part of the scope.

    Examples:
        >>> zeroed = ds.edits.zero(massive, blocks="single.1", steps=range(3))
        >>> result = ds.compare(dit, prompts[0], 0, {"massive": zeroed}, ["psnr"], num_inference_steps=4)
    """
    return Zero.of(channels, where)
