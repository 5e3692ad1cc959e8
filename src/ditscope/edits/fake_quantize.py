"""Round channels as a low-precision format keeps them."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError
from ditscope.passes.number_formats import Scheme, rounded, scheme_of

__all__ = ["FakeQuantize", "FakeQuantizeRest", "fake_quantize"]


class FakeQuantize(Edit):
    """Channels rounded to what a number format can hold."""

    bits: int
    per: str
    width: int
    pair: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.scheme  # refuses what is none

    @property
    def scheme(self) -> Scheme:
        """How they are rounded."""
        return Scheme(self.bits, self.per, self.width, self.pair)

    @property
    def words(self) -> str:
        """Such as ``round to mx6 in``."""
        return f"round to {self.scheme.label} in"

    def values(self, context: EditContext) -> torch.Tensor:
        """Rounded values; what the edit does not act on is in no scale."""
        old = context.old if context.acts is None else torch.where(context.acts, context.old, 0.0)
        return rounded(old, self.scheme, torch)


class FakeQuantizeRest(FakeQuantize):
    """Every channel but those that are named, rounded; these are in no scale."""

    spares_channels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels is None:
            raise InputError("no channels to spare", "channels", "Pass a ChannelSet, or channel ids.")

    @property
    def words(self) -> str:
        """Such as ``round to mx6 in all but``."""
        return f"{super().words} all but"


def fake_quantize(
    channels: Any, scheme: Scheme | str, *, spare: bool = False, **where: Unpack[Where]
) -> FakeQuantize:
    """Round channels as a low-precision format keeps them, and go on in the model's own dtype.

    Scales are those of the values at hand (dynamic), of each image, over the tokens and channels on which the edit
    acts.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        scheme: a name of :data:`ditscope.passes.SCHEMES`, or a :class:`~ditscope.passes.number_formats.Scheme`.
        spare: round all channels but these, as if these were kept apart at full precision.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: an unknown scheme, no channels to spare, or an unknown or empty part of the scope.

    Examples:
        >>> mx6 = ds.edits.fake_quantize(None, "mx6")
        >>> mixed = [ds.edits.fake_quantize(massive, "mx6", spare=True), ds.edits.fake_quantize(massive, "mx9")]
        >>> edits = {"mx6": mx6, "massive in mx9": mixed}
        >>> cost = ds.compare(dit, prompts[0], 0, edits, ["psnr"], num_inference_steps=2)
    """
    kind = FakeQuantizeRest if spare else FakeQuantize
    return kind.of(channels, where, **vars(scheme_of(scheme)))
