"""Each image's own random channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from ditscope import checks
from ditscope.edits.live_channels import Chosen, LiveChannels, NewValues
from ditscope.edits.seeded import PER, seeded

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit


@dataclass(frozen=True, eq=False, kw_only=True)
class DrawnChannels(LiveChannels):
    """Channels that follow from a random order of all channels, which is each image's own.

    Attributes:
        seed: of the order, from 0.
        per: what has an order of its own: see :data:`ditscope.edits.seeded.PER`.
        count: number of draws.
        number: of one draw among several, its number.
    """

    seed: int = 0
    per: str = "run"
    count: int = 1
    number: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("seed", 0), ("count", 1), ("number", 0)):
            checks.whole_number(name, getattr(self, name), least=least)
        checks.name_of("per", self.per, PER)

    @property
    def draws(self) -> int:
        """Number of draws."""
        return self.count

    def draw(self, number: int) -> Self:
        """The channels of one draw; a single one is its own and only draw 0."""
        checks.whole_number("draw", number, least=0, most=self.count - 1)
        return self if self.count == 1 else replace(self, count=1, number=number)

    def order(self, context: EditContext) -> torch.Tensor:
        """All channels in random order, int64 ``[row, channel]``."""
        rows = range(len(context.old))
        drawn = [seeded(context, row, self.seed, self.per, self.number) for row in rows]
        orders = np.stack([random.permutation(len(context.channels)) for random in drawn])
        return torch.as_tensor(orders, device=context.old.device)


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomChannels(DrawnChannels):
    """The first ``k`` channels of the random order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole_number("k", self.k)

    @property
    def label(self) -> str:
        """Such as ``each image's own random 12``."""
        return f"each image's own random {self.k}"

    def choose(self, edit: Edit, context: EditContext, new_values: NewValues) -> Chosen:
        """The first ones of each image."""
        order = self.order(context)
        return Chosen(torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, : self.k], True))

    def check(self, edit: Edit, width: int, steps: Sequence[int]) -> None:
        """Refuse more than there are channels."""
        checks.whole_number("k", self.k, most=width, of=" (the model's channels)")
