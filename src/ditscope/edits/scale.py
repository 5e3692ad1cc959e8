"""Multiply channels by a factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch
import xarray as xr

from ditscope.checks import find_steps
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.given_values import given_values
from ditscope.edits.schedule import Strength, strength, strength_at

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit

__all__ = ["Scale", "scale"]

Factor = Strength | xr.DataArray
"""A number, pairs of noise level and factor, or a factor for each step."""


class Scale(Edit):
    """Channels times a factor, which may follow a schedule."""

    factor: Factor

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", _schedule(self.factor))

    @property
    def words(self) -> str:
        """Such as ``scale by 0.5``."""
        if isinstance(self.factor, float):
            return f"scale by {self.factor:g}"
        if isinstance(self.factor, xr.DataArray):
            return f"scale step by step by {' '.join(f'{each:g}' for each in self.factor.values)} for"
        return f"scale by {', '.join(f'{factor:g} at sigma {sigma:g}' for sigma, factor in self.factor)} for"

    def values(self, context: EditContext) -> torch.Tensor:
        """Old values times the factor."""
        return context.old * self.factor_at(context.visit)

    def factor_at(self, visit: Visit) -> float:
        """The factor at a visit."""
        if isinstance(self.factor, xr.DataArray):
            return float(self.factor.sel(step=visit.step))
        return strength_at(self.factor, visit.sigma)

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, factors that lack a step of the edit."""
        super().check(dit, steps)
        if isinstance(self.factor, xr.DataArray):
            find_steps(self.factor["step"].values.tolist(), find_steps(steps, self.scope.steps))


def _schedule(factor: Any) -> Factor:
    if isinstance(factor, xr.DataArray) and factor.dims == ("step",):
        table = given_values("factor", factor, [("step",)])
        if np.isfinite(table.values).all():
            return table
    return strength("factor", factor)


def scale(channels: Any, factor: Any, **where: Unpack[Where]) -> Scale:
    """Multiply channels by a factor: 1 changes nothing, 0 is :func:`zero`, -1 is :func:`flip_sign`.

    With a schedule it is the suppression rho(t) of massive activations (EMA, arXiv 2607.02968).

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        factor: what to multiply by: a number; pairs (sigma, factor) or a DataArray ``[sigma]``, between which it is
            linear in the noise level and beyond which it stays; or a DataArray ``[step]``, one for each step.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``factor`` is no finite number and no schedule of such, or an unknown or empty part of the scope.
            Before a run: it lacks a step of the edit.

    Examples:
        >>> half = ds.edits.scale(massive, 0.5, blocks="single.1")
        >>> ds.edits.scale([3], [(0.0, 1.0), (1.0, 0.5)]).label
        'scale by 1 at sigma 0, 0.5 at sigma 1 for explicit channels'
    """
    return Scale.of(channels, where, factor=factor)
