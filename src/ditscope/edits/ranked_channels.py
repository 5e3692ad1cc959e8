"""Each image's own top, bottom or middle channels at every place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ditscope import checks
from ditscope.edits.live_channels import Chosen, LiveChannels, NewValues
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit

_WHICH = ("top", "bottom", "middle", "window")


@dataclass(frozen=True, eq=False, kw_only=True)
class RankedChannels(LiveChannels):
    """The channels of some ranks by a statistic over the tokens on which the edit acts, in float64.

    Channels with NaN or infinity there have no rank. Ties go to the lower channel.

    Attributes:
        which: ``top``, ``bottom``, ``middle``, or ``window`` for ranks from ``start``.
        statistic: one of :data:`ditscope.vocabulary.STATISTICS`.
        start: first rank of a window; 0 is the largest.
    """

    which: str
    statistic: str = "mean_abs"
    start: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.name_of("which", self.which, _WHICH)
        checks.whole_number("k", self.k)
        checks.whole_number("start", self.start, least=0)
        checks.statistic(self.statistic)

    @property
    def label(self) -> str:
        """Such as ``each image's own top 12 by mean_abs``."""
        window = f"ranks {self.start} to {self.start + self.k - 1}"
        return f"each image's own {window if self.which == 'window' else f'{self.which} {self.k}'} by {self.statistic}"

    def choose(self, edit: Edit, context: EditContext, new_values: NewValues) -> Chosen:
        """The channels of these ranks in each image."""
        scores = token_statistic(self.statistic, context)
        known = scores.isfinite()
        # What has no rank comes behind all others.
        ranks = torch.where(known, -scores, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
        count = known.sum(dim=1, keepdim=True)
        firsts = (0, count - self.k, (count - self.k) // 2, self.start)
        first = firsts[_WHICH.index(self.which)]
        return Chosen((ranks >= first) & (ranks < first + self.k) & known)

    def check(self, edit: Edit, width: int, steps: Sequence[int]) -> None:
        """Refuse more ranks than there are channels."""
        if self.start + self.k > width:
            raise InputError(
                f"{self.label} in the edit '{edit.label}'", f"ranks under {width}", "Take fewer."
            )


def token_statistic(name: str, context: EditContext) -> torch.Tensor:
    """A statistic over the tokens on which an edit acts, float64 ``[row, channel]``."""
    old = context.old.double()
    acts = torch.ones_like(old[:, :, :1], dtype=torch.bool) if context.acts is None else context.acts
    count = acts.sum(dim=1, dtype=torch.float64)

    def mean(values: torch.Tensor) -> torch.Tensor:
        return torch.where(acts, values, 0.0).sum(dim=1) / count

    if name == "abs_max":
        return torch.where(acts, old.abs(), 0.0).amax(dim=1)
    if name == "std":
        return mean((old - mean(old)[:, None]).square()).sqrt()
    return {"mean_abs": mean(old.abs()), "abs_mean": mean(old).abs(), "energy": mean(old.square())}[name]
