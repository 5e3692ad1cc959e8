"""The channels on which an edit acts at one place: one set for all samples, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ditscope.channels.channel_set import PADDING
from ditscope.checks import find_steps
from ditscope.edits.live_channels import LiveChannels
from ditscope.edits.own_sample import own_sample
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.models.block import Block


@dataclass(frozen=True, eq=False)
class ActingChannels:
    """Channels at a block and a step.

    Attributes:
        ids: int64 ``[channel]``; where samples differ, those of any of them.
        by_sample: bool ``[sample, channel]``, which of them are the sample's; None where samples do not differ.
    """

    ids: np.ndarray
    by_sample: xr.DataArray | None = None

    def of_rows(self, samples: Sequence[Any], positions: Sequence[int]) -> np.ndarray | None:
        """Which of them are those of each row's sample, bool ``[row, channel]``; None where samples do not differ."""
        if self.by_sample is None:
            return None
        pairs = zip(samples, positions, strict=True)
        return self.by_sample.values[[own_sample(self.by_sample, *each, "channels") for each in pairs]]


def acting_channels(edit: Edit, block: Block, step: int, width: int) -> ActingChannels:
    """The channels on which an edit acts at a block, which has some, in a step of a model of ``width`` channels.

    All of them where the edit's are chosen at the place: then :func:`~ditscope.edits.live_channels.narrowed` follows.

    Raises:
        InputError: the edit's channels have several draws.
    """
    chosen = edit.channels
    if chosen is None or isinstance(chosen, LiveChannels):
        return ActingChannels(np.arange(width))
    if "step" in chosen.kept:
        chosen = chosen.sel(step=step)
    if "sample" not in chosen.kept:
        ids = chosen[block]
        return ActingChannels(np.setdiff1d(np.arange(width), ids) if edit.spares_channels else ids)
    here = (chosen.sel(block=block) if "block" in chosen.kept else chosen).draw(0).ids
    member = np.zeros((here.sizes["sample"], width), bool)
    for row, ids in zip(member, here.transpose("sample", "rank").values, strict=True):
        row[ids[ids != PADDING]] = True
    if edit.spares_channels:
        member = ~member
    union = np.flatnonzero(member.any(axis=0))
    labels = {name: here.coords[name] for name in ("prompt", "seed") if name in here.coords}
    return ActingChannels(union, xr.DataArray(member[:, union], dims=("sample", "channel"), coords=labels))


def require_channels(edit: Edit, width: int, steps: Sequence[int]) -> None:
    """Refuse channels that a model of ``width`` channels does not have, or that lack a step on which an edit acts.

    Raises:
        InputError: naming them.
    """
    chosen = edit.channels
    if isinstance(chosen, LiveChannels):
        chosen.check(edit, width, steps)
    elif chosen is not None:
        largest = int(chosen.ids.max())
        if largest >= width:
            raise InputError(
                f"channel {largest} in the edit '{edit.label}'",
                f"channels under the model's width {width}",
                "Rank the channels on this model.",
            )
        if "step" in chosen.kept:
            find_steps(chosen.ids["step"].values.tolist(), steps)
