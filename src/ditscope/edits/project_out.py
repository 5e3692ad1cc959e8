"""Take a direction or a subspace out of the hidden state."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
import xarray as xr

from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import find_steps, finite_number
from ditscope.edits.acting_channels import acting_channels
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.given_values import given_values, values_at
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT

__all__ = ["ProjectOut", "project_out"]

_LEAST = 1e-6
"""Length of what a direction adds to the ones before it, over its own, below which it adds nothing."""


class ProjectOut(Edit):
    """Every edited token without its part in a subspace, or without a multiple of that part."""

    directions: xr.DataArray
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        forms = [("channel",), ("direction", "channel")]
        given = given_values("direction", self.directions, forms, ("step", "block"))
        object.__setattr__(self, "directions", given)
        object.__setattr__(self, "strength", finite_number("strength", self.strength))
        named = self.channels
        if named is not None and (not isinstance(named, ChannelSet) or "sample" in named.kept):
            raise InputError(
                "channels of each sample's own to project in",
                "the same channels for all samples",
                "Take one set, or leave channels= out.",
            )

    @property
    def words(self) -> str:
        """Such as ``project 2 directions out of``."""
        many = self.directions.sizes.get("direction", 1)
        times = "" if self.strength == 1 else f"{self.strength:g} times "
        return f"project {times}{many} direction{'s' * (many > 1)} out of"

    def values(self, context: EditContext) -> torch.Tensor:
        """Old values minus their part in the subspace."""
        basis = torch.as_tensor(
            self.basis(context.block, context.visit.step, context.channels.cpu().numpy()),
            device=context.old.device,
        )
        return context.old - self.strength * (context.old @ basis.T @ basis)

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, directions that lack a block, a step or a channel of the edit, or are dependent."""
        super().check(dit, steps)
        for number in range(self.draws):
            one = self.draw(number)
            for block, step in itertools.product(one.chosen(dit.blocks), find_steps(steps, self.scope.steps)):
                one.basis(block, step, acting_channels(one, block, step, dit.width).ids)

    def basis(self, block: Block, step: int, ids: np.ndarray) -> np.ndarray:
        """Orthonormal directions float32 ``[direction, channel]`` of the subspace in some channels.

        Raises:
            InputError: a block, step or channel is missing, or a direction is a combination of the others there.
        """
        found = values_at("direction", self.directions, block, step, ids).values.astype(np.float64)
        rows = found.reshape(-1, len(ids))
        if len(rows) <= len(ids):
            columns, triangle = np.linalg.qr(rows.T)
            if (abs(np.diag(triangle)) > _LEAST * np.linalg.norm(rows, axis=1)).all():
                return columns.T.astype(np.float32)
        raise InputError(
            f"{len(rows)} directions in {len(ids)} channels at {block.name}, step {step}, that depend on each other",
            "independent directions other than 0",
            "Leave out what is a combination of the others.",
        )


def project_out(
    directions: Any, strength: float = 1.0, *, channels: Any = None, **where: Unpack[Where]
) -> ProjectOut:
    """Take a direction or a subspace out of every edited token, whatever the tokens' values in it.

    The directions need not be orthonormal: they are made so, by QR in float64, within the edited channels.

    Args:
        directions: ``[channel]`` or ``[direction, channel]``, as an array, or as a DataArray also with ``block`` and
            ``step`` before it.
        strength: 1 takes all of it, 2 reflects, 0 changes nothing. (A direction that is orthogonal to all tokens
            changes them by rounding.)
        channels: a ChannelSet, or channel ids, within which it is done; all channels by default.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: other dims, channels of each sample's own, a strength that is no finite number, or an unknown or
            empty part of the scope. Before a run: directions that lack a block, step or channel of the edit, are not
            finite there, or depend on each other.

    Examples:
        >>> without = ds.edits.project_out(np.ones(dit.width), blocks="single.1")
    """
    return ProjectOut.of(channels, where, directions=directions, strength=strength)
