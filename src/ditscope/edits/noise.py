"""Put noise of the same norm in place of channels."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import numpy as np
import torch

from ditscope import checks
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.seeded import PER, seeded
from ditscope.errors import InputError

__all__ = ["Noise", "noise"]


class Noise(Edit):
    """Gaussian noise in place of a share of channels' energy, with each channel's norm over the edited tokens."""

    share: float = 1.0
    seed: int = 0
    per: str = "place"

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "share", checks.finite_number("share", self.share))
        if not 0 <= self.share <= 1:
            raise InputError(f"share={self.share:g}", "0 to 1", "It is the share of the energy.")
        object.__setattr__(self, "seed", checks.whole_number("seed", self.seed, least=0))
        checks.name_of("per", self.per, PER)

    @property
    def words(self) -> str:
        """``noise for``, or such as ``noise for 0.5 of``."""
        return "noise for" + f" {self.share:g} of" * (self.share < 1)

    def values(self, context: EditContext) -> torch.Tensor:
        """Noise of the old values' norm, mixed with them."""
        old, acts = context.old, context.acts
        made = torch.as_tensor(self._drawn(context), device=old.device)[:, context.tokens]
        sizes = [part if acts is None else torch.where(acts, part, 0.0) for part in (old, made)]
        own, drawn = (part.square().sum(dim=1, keepdim=True).sqrt() for part in sizes)
        return math.sqrt(1 - self.share) * old + math.sqrt(self.share) * made * (own / drawn)

    def _drawn(self, context: EditContext) -> np.ndarray:
        """Normal numbers float32 ``[row, every token, channel]``; a channel's do not depend on the other channels."""
        n_tokens, ids = context.hidden.shape[1], context.channels.tolist()
        made = np.empty((len(context.old), n_tokens, len(ids)), np.float32)
        for row in range(len(made)):
            for at, channel in enumerate(ids):
                random = seeded(context, row, self.seed, self.per, channel=channel)
                made[row, :, at] = random.standard_normal(n_tokens, dtype=np.float32)
        return made


def noise(
    channels: Any, share: float = 1.0, *, seed: int = 0, per: str = "place", **where: Unpack[Where]
) -> Noise:
    """Put Gaussian noise in place of channels: their energy stays, what they say is gone.

    Each image's noise has, in each channel, the norm that the old values have over the edited tokens. It depends on
    ``seed``, the sample and the place alone: not on the batch, its order, other channels or the device.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        share: of the energy that is noise: new = sqrt(1 - share) * old + sqrt(share) * noise. 0 changes nothing.
        seed: of the noise, from 0.
        per: ``place`` for noise of its own in every step, branch, block, stream and site, ``step`` for every step,
            ``run`` for the same one all the time.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``share`` is not from 0 to 1, a negative ``seed``, an unknown ``per``, or an unknown or empty part
            of the scope.

    Examples:
        >>> noisy = ds.edits.noise(massive, 0.5, seed=1, blocks="single.1")
    """
    return Noise.of(channels, where, share=share, seed=seed, per=per)
