"""Set channels to their mean: the control that tells a bias from a signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch
import xarray as xr

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.given_values import given_values, require_values, values_at

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

__all__ = ["Mean", "mean"]

_WHAT = "calibration mean"


class Mean(Edit):
    """The mean in place of channels: each image's own over its edited tokens, or a given one.

    Attributes:
        calibration: means ``[block, channel]``, or ``[step, block, channel]``; None for each image's own.
    """

    calibration: xr.DataArray | None = None

    is_control: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calibration is not None:
            table = given_values(_WHAT, self.calibration, [("block", "channel")], ("step",))
            object.__setattr__(self, "calibration", table)

    @property
    def words(self) -> str:
        """``mean of`` or ``calibrated mean of``."""
        return "mean of" if self.calibration is None else "calibrated mean of"

    def values(self, context: EditContext) -> torch.Tensor:
        """The means ``[row, 1, channel]``, or the given ones ``[channel]``."""
        if self.calibration is None:
            return context.token_mean()
        ids = context.channels.cpu().numpy()
        found = values_at(_WHAT, self.calibration, context.block, context.visit.step, ids)
        return torch.as_tensor(found.values, device=context.old.device)

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, a calibration that lacks a block, a step or a channel of the edit."""
        super().check(dit, steps)
        if self.calibration is not None:
            require_values(_WHAT, self.calibration, self, dit, steps)


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

    Examples:
        >>> ds.edits.mean(massive, blocks="single.1").control
        True
        >>> recorded = ds.edits.mean(massive, calibration=cache.stats()["mean"].mean(["sample", "step", "branch"]))
    """
    return Mean.of(channels, where, calibration=calibration)
