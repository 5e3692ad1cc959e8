"""Labelled values that an edit is given, such as means, directions and replacements, looked up at a place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ditscope.checks import find_steps
from ditscope.edits.acting_channels import acting_channels
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT


def given_values(
    what: str, values: Any, forms: Sequence[tuple[str, ...]], lead: tuple[str, ...] = ()
) -> xr.DataArray:
    """A table of numbers with known dims, in memory, in the order of its dims.

    Args:
        what: what the values are, in the plural, for messages.
        values: a DataArray; or an array or tensor, which has the dims of the form with as many as it has.
        forms: the dims that it may have.
        lead: further dims that a DataArray may have.

    Raises:
        InputError: other dims, something else than numbers, or a label that comes twice.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    if not isinstance(values, xr.DataArray):
        array = np.asarray(values)
        named = [form for form in forms if len(form) == array.ndim]
        values = xr.DataArray(array, dims=named[0] if named else None)
    if values.dtype.name == "bfloat16":
        values = values.astype("float32")
    for form in forms:
        first = [dim for dim in lead if dim in values.dims]
        if set(values.dims) == {*first, *form} and values.size and values.dtype.kind in "fiu":
            twice = [dim for dim in values.indexes if not values.indexes[dim].is_unique]
            if twice:
                raise InputError(f"{what} with a {twice[0]} twice", "each label once", "Drop one of them.")
            return values.transpose(*first, *form).load()
    raise InputError(
        f"{what} {values.dims} of {values.dtype}",
        f"a DataArray of numbers with dims {' or '.join(map(str, forms))}"
        + (f", perhaps with {' and '.join(lead)}" if lead else ""),
        "Select or average the other dims first.",
    )


def values_at(what: str, table: xr.DataArray, block: Block, step: int, ids: np.ndarray) -> xr.DataArray:
    """The part of a table for a block, a step and some channels, float32, with its other dims.

    Raises:
        InputError: the table lacks it, or it is not finite there.
    """
    at = {"block": block.index, "step": step}
    try:
        found = table.sel({dim: label for dim, label in at.items() if dim in table.dims} | {"channel": ids})
    except (KeyError, IndexError) as error:
        raise InputError(
            f"no {what} for {block.name}, step {step}, channels {ids.tolist()}",
            f"{what}s of every block, step and channel that is edited",
            "Make them for all of these, or narrow the edit.",
        ) from error
    found = found.astype(np.float32)
    bad = ~np.isfinite(found.values)
    if bad.any():
        raise InputError(
            f"{what} {found.values[bad][0]} for {block.name}, channel {ids[np.argwhere(bad)[0][-1]]}",
            f"finite {what}s",
            "Leave that channel out, or make them of runs in which it is finite.",
        )
    return found


def require_values(what: str, table: xr.DataArray, edit: Edit, dit: DiT, steps: Sequence[int]) -> None:
    """Refuse, before a run that makes these steps, a table that lacks what an edit needs.

    Raises:
        InputError: it lacks a block, a step or a channel, or is not finite there.
    """
    acting = find_steps(steps, edit.scope.steps)
    for number in range(edit.draws):
        one = edit.draw(number)
        for block, step in itertools.product(one.chosen(dit.blocks), acting):
            values_at(what, table, block, step, acting_channels(one, block, step, dit.width).ids)
