"""Set channels to their mean: the control that tells a bias from a signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch
import xarray as xr

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT

__all__ = ["Mean", "mean"]


class Mean(Edit):
    """The mean in place of channels: each image's own over its edited tokens, or a given one.

    Attributes:
        calibration: means ``[block, channel]``; None for each image's own.
    """

    calibration: xr.DataArray | None = None

    is_control: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        table = self.calibration
        if table is None:
            return
        if isinstance(table, xr.DataArray) and table.dtype.name == "bfloat16":
            table = table.astype("float32")
        if (
            not isinstance(table, xr.DataArray)
            or set(table.dims) != {"block", "channel"}
            or table.dtype.kind not in "fiu"
        ):
            dtype = f" of {table.dtype}" if isinstance(table, xr.DataArray) else ""
            raise InputError(
                f"calibration means {getattr(table, 'dims', type(table).__name__)}{dtype}",
                "a DataArray of numbers with dims ('block', 'channel')",
                "Average over the other dims first.",
            )
        object.__setattr__(self, "calibration", table.transpose("block", "channel").load())

    @property
    def words(self) -> str:
        """``mean of`` or ``calibrated mean of``."""
        return "mean of" if self.calibration is None else "calibrated mean of"

    def values(self, context: EditContext) -> torch.Tensor:
        """The means ``[row, 1, channel]``, or the given ones ``[channel]``."""
        if self.calibration is None:
            if context.real is None:
                return context.old.mean(dim=1, keepdim=True)
            real = context.real[:, :, None]
            return torch.where(real, context.old, 0.0).sum(dim=1, keepdim=True) / real.sum(
                dim=1, keepdim=True
            )
        return torch.as_tensor(self._levels(context.block), device=context.old.device)

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, a calibration that lacks a block or channel of the edit."""
        super().check(dit, steps)
        if self.calibration is not None:
            for block in self.chosen(dit.blocks):
                for number in range(self.draws):
                    self.draw(number)._levels(block)

    def _levels(self, block: Block) -> np.ndarray:
        """The given means float32 ``[channel]`` of the edit's channels at a block."""
        assert self.calibration is not None
        ids = self.channels[block]
        try:
            levels = self.calibration.sel(block=block.index, channel=ids).values.astype(np.float32)
        except (KeyError, IndexError) as error:
            raise InputError(
                f"no calibration mean for {block.name}, channels {ids.tolist()}",
                "means of every block and channel that is edited",
                "Record statistics of all of them, or narrow the edit.",
            ) from error
        if not np.isfinite(levels).all():
            raise InputError(
                f"calibration mean {levels[~np.isfinite(levels)][0]} for {block.name}, channel "
                f"{ids[~np.isfinite(levels)][0]}",
                "finite means",
                "Leave that channel out, or record statistics of runs in which it is finite.",
            )
        return levels


def mean(channels: Any, *, calibration: xr.DataArray | None = None, **where: Unpack[Where]) -> Mean:
    """Set channels to their mean: what a channel says differently from token to token is gone, its level stays.

    The control that tells a bias from a signal (Sun et al. 2024, section 3, overwrite massive
    activations with their empirical mean): if zeroing harms and this does not, the harm came from
    losing a constant. So it is a control unless ``control=False`` says otherwise.

    Args:
        channels: a ChannelSet, or channel ids for every block.
        calibration: means ``[block, channel]`` from recorded statistics, such as
            ``cache.stats()["mean"].mean(["sample", "step", "branch"])``; without it, each image's own
            mean over its edited tokens at that place.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``calibration`` lacks the dims ``block`` and ``channel``, or an unknown or empty part of the
            scope. Before a run: it lacks a block or channel of the edit, or is not finite there.
    """
    return Mean.of(channels, where, calibration=calibration)
