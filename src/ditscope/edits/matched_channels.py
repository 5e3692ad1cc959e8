"""Random channels, as many as an edit changes by as much as it changes its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits.acting_channels import acting_channels, require_channels
from ditscope.edits.drawn_channels import DrawnChannels
from ditscope.edits.live_channels import Chosen, LiveChannels, NewValues
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit

MATCHED = MappingProxyType(
    {"moved": "squared change", "removed": "energy removed", "energy": "energy before the edit"}
)
"""What can be matched, in words; each is a sum of squares over the tokens on which the edit acts."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchedChannels(DrawnChannels):
    """Channels outside a set, in random order, as many as bring an amount closest to the set's at the same place.

    The amounts are those under the very edit, in the model's dtype; see :func:`ditscope.controls.matched`.

    Attributes:
        own: the channels to match.
        by: one of :data:`MATCHED`.
    """

    own: ChannelSet | LiveChannels
    by: str = "moved"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.name_of("by", self.by, MATCHED)

    @property
    def label(self) -> str:
        """Such as ``random channels of the squared change of top 12 by mean_abs``."""
        return f"random channels of the {MATCHED[self.by]} of {self.own.label}"

    @property
    def matched(self) -> str:
        """``moved``, ``removed`` or ``energy``."""
        return self.by

    @property
    def blocks(self) -> list[int | str] | None:
        """The blocks of the channels to match."""
        return self.own.blocks

    def choose(self, edit: Edit, context: EditContext, new_values: NewValues) -> Chosen:
        """The channels of each image, and the amount that was to be matched."""
        own, amounts = self._own(edit, context, new_values), self._amounts(context, new_values)
        wanted = torch.where(own, amounts, 0.0).sum(dim=1)
        order = self.order(context)
        free = (~own & amounts.isfinite()).gather(1, order)
        reached = torch.where(free, amounts.gather(1, order), 0.0).cumsum(dim=1)
        # A match ends with a channel that is free to be taken.
        misses = torch.where(free, (reached - wanted[:, None]).abs(), torch.inf)
        ranks = torch.arange(order.shape[1], device=order.device)
        taken = free & (ranks <= misses.argmin(dim=1, keepdim=True))
        return Chosen(torch.zeros_like(own).scatter_(1, order, taken), wanted)

    def check(self, edit: Edit, width: int, steps: Sequence[int]) -> None:
        """Refuse a set of all channels, or that the model or the steps lack, and kinds of edits that mix channels."""
        require_channels(replace(edit, channels=self.own), width, steps)
        if self.own.k == width:
            raise InputError(
                f"{self.own.label}: all {width} channels",
                "a set with others left over to match it",
                "Match fewer channels.",
            )
        if not edit.channelwise:
            raise InputError(
                f"random channels matched under the edit '{edit.label}', which mixes channels",
                "an edit of which each channel's change is its own",
                "Set channelwise = True on your kind of edit if it is so.",
            )

    def _own(self, edit: Edit, context: EditContext, new_values: NewValues) -> torch.Tensor:
        """The channels to match, bool ``[row, channel]``."""
        if isinstance(self.own, LiveChannels):
            return self.own.choose(edit, context, new_values).channels
        width, old = len(context.channels), context.old
        acting = acting_channels(replace(edit, channels=self.own), context.block, context.visit.step, width)
        own = torch.zeros(len(old), width, dtype=torch.bool, device=old.device)
        rows = acting.of_rows(context.samples, context.positions)
        own[:, acting.ids] = True if rows is None else torch.as_tensor(rows, device=old.device)
        return own

    def _amounts(self, context: EditContext, new_values: NewValues) -> torch.Tensor:
        """What the edit would do to each channel, float64 ``[row, channel]``."""
        old = context.old
        if self.by == "energy":
            amounts = old.square()
        else:
            new = new_values(context).to(context.hidden.dtype).float()
            amounts = (old - new).square() if self.by == "moved" else old.square() - new.square()
        if context.acts is not None:
            amounts = torch.where(context.acts, amounts, 0.0)
        return amounts.sum(dim=1, dtype=torch.float64)
