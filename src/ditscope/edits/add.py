"""Add a direction: steering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import torch
import xarray as xr

from ditscope import checks
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.given_values import given_values, require_values, values_at

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

__all__ = ["Add", "add"]

_WHAT = "direction"


class Add(Edit):
    """A direction is added to every edited token."""

    direction: xr.DataArray
    strength: float = 1.0
    unit: str = "absolute"
    norm_preserving: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        given = given_values(_WHAT, self.direction, [("channel",)], ("step", "block"))
        object.__setattr__(self, "direction", given)
        object.__setattr__(self, "strength", checks.finite_number("strength", self.strength))
        checks.name_of("unit", self.unit, ("absolute", "token_norm"))
        checks.name_of("norm_preserving", self.norm_preserving, (True, False))

    @property
    def words(self) -> str:
        """Such as ``add 0.5 token norms of a direction, norm kept, in``."""
        unit = " token norms of" if self.unit == "token_norm" else " times"
        return f"add {self.strength:g}{unit} a direction{', norm kept,' * self.norm_preserving} in"

    def values(self, context: EditContext) -> torch.Tensor:
        """Old values plus the direction."""
        ids = context.channels.cpu().numpy()
        found = values_at(_WHAT, self.direction, context.block, context.visit.step, ids)
        old, direction = context.old, torch.as_tensor(found.values, device=context.old.device)
        if context.acts is not None:
            # Norms are of what is edited alone.
            old, direction = (torch.where(context.acts, part, 0.0) for part in (old, direction))
        if self.unit == "token_norm":
            direction = direction * _ratio(old, direction)
        new = old + self.strength * direction
        return new * _ratio(old, new) if self.norm_preserving else new

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, a direction that lacks a block, a step or a channel of the edit."""
        super().check(dit, steps)
        require_values(_WHAT, self.direction, self, dit, steps)


def _ratio(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Norm over channels of one over that of the other, ``[row, token, 1]``; 1 where the other is 0."""
    norms = [part.square().sum(dim=-1, keepdim=True).sqrt() for part in (first, second)]
    return torch.where(norms[1] > 0, norms[0] / norms[1], 1.0)


def add(
    direction: Any,
    strength: float = 1.0,
    *,
    channels: Any = None,
    unit: str = "absolute",
    norm_preserving: bool = False,
    **where: Unpack[Where],
) -> Add:
    """Add a direction to every edited token: steering.

    Args:
        direction: ``[channel]``, as an array, or as a DataArray also ``[block, channel]`` or with ``step`` before it,
            such as the difference of two means over recorded samples.
        strength: how much: times the direction as it is. 0 changes nothing.
        channels: a ChannelSet, or channel ids, in which it is added; all channels by default. The direction must have
            them; others that it has are left out, and norms are of these channels alone.
        unit: ``absolute``, in the hidden state's own unit; or ``token_norm``: the direction is made as long as each
            token's vector first, so that a strength of 0.1 moves every token by a tenth of its length.
        norm_preserving: give each token's vector its old norm back, so that it is turned and not made longer.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: other dims, a strength that is no finite number, an unknown unit, or an unknown or empty part of
            the scope. Before a run: the direction lacks a block, step or channel of the edit, or is not finite there.

    Examples:
        >>> seen = cache.hidden(dtype="float32").sel(branch="cond", block=5, step=5)
        >>> direction = (seen.isel(sample=0) - seen.isel(sample=1)).mean("token")
        >>> steer = ds.edits.add(direction, 0.1, unit="token_norm", blocks="single.1")
    """
    return Add.of(
        channels,
        where,
        direction=direction,
        strength=strength,
        unit=unit,
        norm_preserving=norm_preserving,
    )
