"""Shuffle channels over the tokens."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import numpy as np
import torch

from ditscope import checks
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.seeded import PER, seeded

__all__ = ["Shuffle", "shuffle"]

_LAST = 2**63 - 1


class Shuffle(Edit):
    """The edited tokens' values in another order: the same one for all channels of an image, or one for each."""

    seed: int = 0
    per: str = "place"
    together: bool = True

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "seed", checks.whole_number("seed", self.seed, least=0))
        checks.name_of("per", self.per, PER)
        checks.name_of("together", self.together, (True, False))

    @property
    def words(self) -> str:
        """``shuffle`` or ``shuffle each of``."""
        return "shuffle" if self.together else "shuffle each of"

    def values(self, context: EditContext) -> torch.Tensor:
        """The old values at the tokens that take their place."""
        old, acts = context.old, context.acts
        keys = torch.as_tensor(self._drawn(context), device=old.device)[:, context.tokens]
        places = torch.zeros_like(keys)
        if acts is not None:
            # An image's own tokens alone change places; all others come last, in their order.
            own = acts.expand(old.shape).any(dim=2, keepdim=True)
            keys, places = (part.masked_fill(~own, _LAST) for part in (keys, places))
        order, place = (
            part.argsort(dim=1, stable=True).expand(-1, -1, old.shape[2]) for part in (keys, places)
        )
        return torch.empty_like(old).scatter_(1, place, old.gather(1, order))

    def _drawn(self, context: EditContext) -> np.ndarray:
        """Numbers to sort by, int64 ``[row, every token, channel or 1]``."""
        n_tokens, ids = context.hidden.shape[1], [0] if self.together else context.channels.tolist()
        return np.stack(
            [
                [
                    seeded(context, row, self.seed, self.per, channel=channel).integers(_LAST, size=n_tokens)
                    for channel in ids
                ]
                for row in range(len(context.old))
            ]
        ).transpose(0, 2, 1)


def shuffle(
    channels: Any, *, seed: int = 0, per: str = "place", together: bool = True, **where: Unpack[Where]
) -> Shuffle:
    """Shuffle channels over the edited tokens: every channel keeps its values, and none its layout.

    The order depends on ``seed``, the sample and the place alone: not on the batch, its order or the device. With one
    token nothing changes.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        seed: of the order, from 0.
        per: ``place`` for an order of its own in every step, branch, block, stream and site, ``step`` for every step,
            ``run`` for the same one all the time.
        together: one order for all channels, so that a token's values move together; False for one for each.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: a negative ``seed``, an unknown ``per``, or an unknown or empty part of the scope.

    Examples:
        >>> shuffled = ds.edits.shuffle(massive, seed=1, blocks="single.1")
    """
    return Shuffle.of(channels, where, seed=seed, per=per, together=together)
