"""Which tokens of a stream: a mask that carries its grid, if need be for each sample, step or block; or positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from ditscope.errors import InputError

Tokens = xr.DataArray | tuple[int, ...]
"""A bool mask ``[y, x]``, ``[y_pixel, x_pixel]`` or ``[token]``, perhaps with ``sample``, ``step`` and ``block`` before
it; or positions, of which a negative one counts from the last token."""

_LEAD = ("sample", "step", "block")
_GRID, _PIXELS, _FLAT = ("y", "x"), ("y_pixel", "x_pixel"), ("token",)


def token_selection(tokens: Any) -> Tokens:
    """A selection of tokens in its one form.

    Args:
        tokens: a bool mask ``[y, x]`` of the whole grid, ``[token]``, which only its length ties to a run, or, if it
            is labelled so, ``[y_pixel, x_pixel]`` of the image. A labelled mask goes by its names, in any order,
            ``token`` with or without coordinates ``y`` and ``x``; with a dim ``sample``, ``step`` or ``block`` it has a
            mask for each, the latter two by their labels. Or different token positions.

    Raises:
        InputError: it is neither, is empty, or has dims or labels of something else.
    """
    array = tokens if isinstance(tokens, xr.DataArray) else _unlabelled(tokens)
    if array.size and array.dtype == bool:
        for names in (_GRID, _PIXELS, _FLAT):
            if set(array.dims) - set(_LEAD) == set(names):
                return _whole_mask(array, names)
    positions = array.values.ravel().tolist()
    if (
        not np.issubdtype(array.dtype, np.integer)
        or array.ndim > 1
        or not 0 < len(positions) == len(set(positions))
    ):
        raise InputError(
            f"{array.size} tokens of dtype {array.dtype} with dims {array.dims}",
            "a bool mask [y, x], [y_pixel, x_pixel] or [token], one for all or for each sample, step or block, or "
            "different whole-number positions",
            "Turn a mask of 0 and 1 into bool with mask.astype(bool); take one draw's.",
        )
    return tuple(positions)


def has_grid(selection: Tokens | None) -> bool:
    """Whether a selection is of the image stream's grid, which text does not have."""
    return isinstance(selection, xr.DataArray) and "token" not in selection.dims


def differs_by_sample(selection: Tokens | None) -> bool:
    """Whether a selection has a mask for each sample."""
    return isinstance(selection, xr.DataArray) and "sample" in selection.dims


def tokens_at(selection: Tokens | None, step: int, block: int) -> Tokens | None:
    """The selection at a step and a block: of masks that differ there, theirs.

    Raises:
        InputError: there is none for them.
    """
    if not isinstance(selection, xr.DataArray):
        return selection
    at = {dim: label for dim, label in (("step", step), ("block", block)) if dim in selection.dims}
    for dim, label in at.items():
        known = selection[dim].values.tolist()
        if label not in known:
            raise InputError(
                f"masks of {dim} {', '.join(map(str, known))}",
                f"one of {dim} {label} too, where the edit acts",
                f"Make masks of every {dim}, or narrow {dim}s=.",
            )
    return selection.sel(at) if at else selection


def token_positions(selection: Tokens | None, n_tokens: int, grid: tuple[int, int] | None) -> np.ndarray:
    """The selected positions int64 ``[token]`` in ascending order, each once; of several masks, of any of them.

    Args:
        selection: what to select; None for all tokens.
        n_tokens: number of tokens of the stream.
        grid: (height, width) of the image stream in tokens, which a mask of a grid or of pixels needs.

    Raises:
        InputError: a mask of another grid or length, or a position beyond the stream.
    """
    if selection is None:
        return np.arange(n_tokens)
    if isinstance(selection, tuple):
        beyond = [position for position in selection if not -n_tokens <= position < n_tokens]
        if beyond:
            raise InputError(
                f"token {beyond[0]}",
                f"positions from {-n_tokens} to {n_tokens - 1}",
                "Pass a position that is there.",
            )
        return np.unique(np.asarray(selection) % n_tokens)
    mask = token_mask(selection, n_tokens, grid)
    return np.flatnonzero(mask.reshape(-1, mask.shape[-1]).any(axis=0))


def token_mask(selection: xr.DataArray, n_tokens: int, grid: tuple[int, int] | None) -> np.ndarray:
    """A mask in the order of a stream's tokens, bool ``[token]``, or ``[sample, token]`` and the like.

    A token is selected by a mask of pixels if half of its pixels or more are.

    Args:
        selection: the mask.
        n_tokens: number of tokens of the stream.
        grid: (height, width) of the image stream in tokens, which a mask of a grid or of pixels needs.

    Raises:
        InputError: a mask of another grid, of other pixels than a whole number for each token, or of another length.
    """
    values, names = selection.values, tuple(dim for dim in selection.dims if dim not in _LEAD)
    expected = (n_tokens,) if names == _FLAT or grid is None else grid
    found, per_token = values.shape[-len(names) :], 1
    if names == _PIXELS and grid is not None:
        per_token = max(found[0] // grid[0], 1)
        expected = (grid[0] * per_token, grid[1] * per_token)
    if found != expected:
        raise InputError(
            f"a mask of {' x '.join(map(str, found))} tokens, {' x '.join(map(str, names))}",
            f"a mask of {' x '.join(map(str, expected))}",
            "Take the mask at the run's own height and width.",
        )
    if per_token > 1:
        cells = values.reshape(*values.shape[:-2], grid[0], per_token, grid[1], per_token)  # type: ignore[index]
        values = cells.mean(axis=(-3, -1)) >= 0.5
    return values.reshape(*values.shape[: -len(names)], -1)


def _unlabelled(tokens: Any) -> xr.DataArray:
    if isinstance(tokens, torch.Tensor):
        tokens = tokens.cpu()
    values = np.asarray(sorted(tokens) if isinstance(tokens, set | frozenset) else tokens)
    names = _GRID if values.ndim == 2 else _FLAT
    return xr.DataArray(values, dims=names if values.ndim in (1, 2) else None)


def _whole_mask(mask: xr.DataArray, names: tuple[str, ...]) -> xr.DataArray:
    """A bool mask in the order of its labels, which must be those of a whole grid or stream."""
    lead = tuple(dim for dim in _LEAD if dim in mask.dims)
    whole = mask.transpose(*lead, *names)
    kept = {
        name: whole.coords[name]
        for name, dim in (("prompt", "sample"), ("seed", "sample"), ("step", "step"), ("block", "block"))
        if dim in lead and name in whole.coords
    }
    for dim in lead[lead[:1] == ("sample",) :]:
        if dim not in kept or not whole.indexes[dim].is_unique:
            raise InputError(
                f"a token mask for each {dim} without its labels",
                f"a coordinate {dim}, each label once",
                f"Give it with mask.assign_coords({dim}=...).",
            )
    if names == _FLAT and {"y", "x"} <= set(mask.coords):
        y, x = (np.asarray(mask[name].values, dtype=int) for name in _GRID)
        shape = (y.max() + 1, x.max() + 1)
        if shape[0] * shape[1] != len(y) or len(np.unique(y * shape[1] + x)) != len(y):
            raise _not_whole(mask, f"{len(y)} tokens of a grid of {shape[0]} x {shape[1]}")
        values = np.empty((*whole.shape[:-1], *shape), bool)
        values[..., y, x] = whole.values
        return xr.DataArray(values, dims=(*lead, *_GRID), coords=kept)
    for dim in names:
        if dim in whole.indexes:
            if sorted(whole.indexes[dim]) != list(range(whole.sizes[dim])):
                raise _not_whole(mask, f"labels {whole.indexes[dim].tolist()} of {dim}")
            whole = whole.sortby(dim)
    return xr.DataArray(whole.values, dims=(*lead, *names), coords=kept)


def _not_whole(mask: xr.DataArray, problem: str) -> InputError:
    return InputError(
        f"a token mask with {problem}",
        "labels from 0 on, each once",
        "Pass the mask of the whole image, False elsewhere.",
    )
