"""Multiply channels by a factor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch
import xarray as xr

from ditscope.checks import find_steps, finite_number
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.given_values import given_values
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit

__all__ = ["Scale", "scale"]

Factor = float | tuple[tuple[float, float], ...] | xr.DataArray
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
        if isinstance(self.factor, float):
            return self.factor
        if isinstance(self.factor, xr.DataArray):
            return float(self.factor.sel(step=visit.step))
        sigmas, factors = zip(*self.factor, strict=True)
        return float(np.interp(visit.sigma, sigmas, factors))

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, factors that lack a step of the edit."""
        super().check(dit, steps)
        if isinstance(self.factor, xr.DataArray):
            find_steps(self.factor["step"].values.tolist(), find_steps(steps, self.scope.steps))


def _schedule(factor: Any) -> Factor:
    if isinstance(factor, xr.DataArray) and factor.ndim:
        table = given_values("factor", factor, [("sigma",), ("step",)])
        if table.dims == ("step",) and np.isfinite(table.values).all():
            return table
        if "sigma" in table.indexes:
            factor = list(zip(table["sigma"].values.tolist(), table.values.tolist(), strict=True))
    if not isinstance(factor, list | tuple):
        return finite_number("factor", factor)
    pairs = [tuple(pair) if isinstance(pair, Iterable) else (pair,) for pair in factor]
    if pairs and {len(pair) for pair in pairs} == {2} and len({pair[0] for pair in pairs}) == len(pairs):
        checked = [(finite_number("sigma", sigma), finite_number("factor", by)) for sigma, by in pairs]
        return tuple(sorted(checked))
    raise InputError(
        f"factor={factor!r}",
        "a finite number, pairs (sigma, factor) with each sigma once, or a DataArray [sigma] or [step]",
        "Pass scale(channels, [(0.0, 1.0), (1.0, 0.5)]), say.",
    )


def scale(channels: Any, factor: Any, **where: Unpack[Where]) -> Scale:
    """Multiply channels by a factor: 1 changes nothing, 0 is :func:`zero`, -1 is :func:`flip_sign`.

    With a schedule it is the suppression rho(t) of massive activations (EMA, arXiv 2607.02968).

    >>> import ditscope as ds
    >>> ds.edits.scale([3], [(0.0, 1.0), (1.0, 0.5)]).label
    'scale by 1 at sigma 0, 0.5 at sigma 1 for explicit channels'

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        factor: what to multiply by: a number; pairs (sigma, factor) or a DataArray ``[sigma]``, between which it is
            linear in the noise level and beyond which it stays; or a DataArray ``[step]``, one for each step.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``factor`` is no finite number and no schedule of such, or an unknown or empty part of the scope.
            Before a run: it lacks a step of the edit.
    """
    return Scale.of(channels, where, factor=factor)
