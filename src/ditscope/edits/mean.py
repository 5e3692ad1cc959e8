"""Set channels to their mean: the control that tells a bias from a signal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch
import xarray as xr

from ditscope.checks import find_steps
from ditscope.edits.acting_channels import acting_channels
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
        calibration: means ``[block, channel]``, or ``[step, block, channel]``; None for each image's own.
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
            or set(table.dims) - {"step"} != {"block", "channel"}
            or table.dtype.kind not in "fiu"
        ):
            dtype = f" of {table.dtype}" if isinstance(table, xr.DataArray) else ""
            raise InputError(
                f"calibration means {getattr(table, 'dims', type(table).__name__)}{dtype}",
                "a DataArray of numbers with dims ('block', 'channel'), or ('step', 'block', 'channel')",
                "Average over the other dims first.",
            )
        object.__setattr__(self, "calibration", table.transpose(..., "block", "channel").load())

    @property
    def words(self) -> str:
        """``mean of`` or ``calibrated mean of``."""
        return "mean of" if self.calibration is None else "calibrated mean of"

    def values(self, context: EditContext) -> torch.Tensor:
        """The means ``[row, 1, channel]``, or the given ones ``[channel]``."""
        if self.calibration is None:
            return context.token_mean()
        return torch.as_tensor(
            self._levels(context.block, context.visit.step, context.channels.cpu().numpy()),
            device=context.old.device,
        )

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, a calibration that lacks a block, a step or a channel of the edit."""
        super().check(dit, steps)
        if self.calibration is not None:
            acting = find_steps(steps, self.scope.steps)
            for number in range(self.draws):
                one = self.draw(number)
                for block, step in itertools.product(one.chosen(dit.blocks), acting):
                    one._levels(block, step, acting_channels(one, block, step, dit.width).ids)

    def _levels(self, block: Block, step: int, ids: np.ndarray) -> np.ndarray:
        """The given means float32 ``[channel]`` of some channels at a block in a step."""
        assert self.calibration is not None
        at = {"block": block.index, "channel": ids}
        if "step" in self.calibration.dims:
            at["step"] = step
        try:
            levels = self.calibration.sel(at).values.astype(np.float32)
        except (KeyError, IndexError) as error:
            raise InputError(
                f"no calibration mean for {block.name}, step {step}, channels {ids.tolist()}",
                "means of every block, step and channel that is edited",
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
            ``cache.stats()["mean"].mean(["sample", "step", "branch"])``, or ``[step, block, channel]`` for a mean of
            each step; without it, each image's own mean over its edited tokens at that place.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``calibration`` lacks the dims ``block`` and ``channel``, or an unknown or empty part of the
            scope. Before a run: it lacks a block or channel of the edit, or is not finite there.
    """
    return Mean.of(channels, where, calibration=calibration)
