"""Edits of channels: replace the values of chosen channels at every place of a scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ditscope.channels.channel_set import ChannelSet
from ditscope.edits.scope import Scope
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.models.block import Block

Rule = Callable[[torch.Tensor, "Block", torch.Tensor], torch.Tensor]
"""New values ``[row, token, rank]`` from old ones (float32), the block, and the channel ids ``[rank]``."""


@dataclass(frozen=True, eq=False)
class Edit:
    """An intervention on a hidden state: which channels, where, and what takes their place.

    Attributes:
        kind: what it does, such as ``zero``.
        channels: the channels, per block.
        rule: new values from old ones.
        scope: where it acts.
    """

    kind: str
    channels: ChannelSet
    rule: Rule
    scope: Scope

    @property
    def label(self) -> str:
        """What it does to which channels, in words."""
        return f"{self.kind} {self.channels.label}"

    @property
    def draws(self) -> int:
        """Number of random draws of the channels."""
        return self.channels.draws

    def draw(self, number: int) -> Edit:
        """The edit with the channels of one draw."""
        return replace(self, channels=self.channels.draw(number))

    def chosen(self, blocks: Sequence[Block]) -> tuple[int, ...]:
        """Indices of the blocks on which the edit acts: they are in scope, and it has channels there.

        Raises:
            InputError: the scope names a block that the model does not have.
        """
        ranked = self.channels.blocks
        return tuple(index for index in self.scope.chosen(blocks) if ranked is None or index in ranked)

    def channels_at(self, block: Block) -> np.ndarray:
        """Channel ids ``[rank]`` at a block."""
        return self.channels[block]

    def new_values(self, values: torch.Tensor, block: Block, ids: torch.Tensor) -> torch.Tensor:
        """What takes the place of ``values`` ``[row, token, rank]``."""
        return self.rule(values, block, ids)

    def __repr__(self) -> str:
        return f"<Edit: {self.label}, {self.channels.k} channels a block, {self.scope}>"


def zero(channels: Any, **scope: Any) -> Edit:
    """Set channels to zero.

    Args:
        channels: a :class:`~ditscope.channels.channel_set.ChannelSet`, or channel ids for every block.
        **scope: ``blocks`` (indices, names such as ``single.5``, kinds such as ``single``), ``steps``,
            ``branches``, ``stream``, ``site``, ``tokens``; see :class:`Scope`.

    Raises:
        InputError: an unknown or empty part of the scope.
    """
    return _edit("zero", channels, lambda values, block, ids: torch.zeros_like(values), scope)


def scale(channels: Any, factor: float, **scope: Any) -> Edit:
    """Multiply channels by a factor: 1 changes nothing, 0 is :func:`zero`, -1 flips the sign.

    Args:
        channels: a ChannelSet, or channel ids for every block.
        factor: what to multiply by.
        **scope: see :class:`Scope`.

    Raises:
        InputError: ``factor`` is no number, or an unknown or empty part of the scope.
    """
    if isinstance(factor, bool) or not isinstance(factor, Real):
        raise InputError(f"factor {factor!r}", "a number", "Pass factor=0.5, say.")
    return _edit(
        f"scale by {float(factor):g}", channels, lambda values, block, ids: values * float(factor), scope
    )


def mean(channels: Any, *, calibration: xr.DataArray | None = None, **scope: Any) -> Edit:
    """Set channels to their mean: what a channel says differently from token to token is gone, its level stays.

    The control that tells a bias from a signal (Sun et al. 2024, section 3, overwrite massive
    activations with their empirical mean): if zeroing harms and this does not, the harm came from
    losing a constant.

    Args:
        channels: a ChannelSet, or channel ids for every block.
        calibration: means ``[block, channel]`` from recorded statistics, such as
            ``cache.stats()["mean"].mean(["sample", "step", "branch"])``; without it, each image's own
            mean over its tokens at that place.
        **scope: see :class:`Scope`.

    Raises:
        InputError: ``calibration`` lacks the dims ``block`` and ``channel``, or, where the edit gets to it, a
            block or channel of the edit.
    """
    if calibration is None:
        return _edit("mean of", channels, _own_mean, scope)
    if not isinstance(calibration, xr.DataArray) or set(calibration.dims) != {"block", "channel"}:
        raise InputError(
            f"calibration means {getattr(calibration, 'dims', type(calibration).__name__)}",
            "a DataArray with dims ('block', 'channel')",
            "Average over the other dims first.",
        )
    table = calibration.transpose("block", "channel").load()

    def calibrated(values: torch.Tensor, block: Block, ids: torch.Tensor) -> torch.Tensor:
        try:
            means = table.sel(block=block.index, channel=ids.cpu().numpy()).values.astype(np.float32)
        except KeyError as error:
            raise InputError(
                f"no calibration mean for {block.name}, channels {ids.tolist()}",
                "means of every block and channel that is edited",
                "Record statistics of all of them, or narrow the edit.",
            ) from error
        return torch.as_tensor(means, device=values.device).expand_as(values)

    return _edit("calibrated mean of", channels, calibrated, scope)


def _own_mean(values: torch.Tensor, block: Block, ids: torch.Tensor) -> torch.Tensor:
    return values.mean(dim=1, keepdim=True).expand_as(values)


def _edit(kind: str, channels: Any, rule: Rule, scope: dict[str, Any]) -> Edit:
    if not isinstance(channels, ChannelSet):
        if not isinstance(channels, Sequence | np.ndarray | set | dict | range):
            raise InputError(
                f"channels of type {type(channels).__name__}",
                "a ChannelSet, channel ids, or ids by block",
                "Take ranking.top(12), or pass [3, 77].",
            )
        channels = ChannelSet.of(channels, stream=scope.get("stream", "image"))
    unknown = sorted(set(scope) - {"blocks", "steps", "branches", "stream", "site", "tokens"})
    if unknown:
        raise InputError(
            f"scope {', '.join(unknown)}",
            "blocks, steps, branches, stream, site or tokens",
            "Mend the scope.",
        )
    return Edit(kind, channels, rule, Scope(**{"stream": channels.stream, **scope}))
