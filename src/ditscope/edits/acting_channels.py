"""The channels on which an edit acts at one place: one set for all samples, or one for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ditscope.channels.channel_set import PADDING

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


def acting_channels(edit: Edit, block: Block, step: int, width: int) -> ActingChannels:
    """The channels on which an edit acts at a block, which has some, in a step of a model of ``width`` channels.

    Raises:
        InputError: the edit's channels have several draws.
    """
    chosen = edit.channels
    if chosen is None:
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
