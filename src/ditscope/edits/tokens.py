"""Which tokens of a stream: a mask that carries its grid, or positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from ditscope.errors import InputError

Tokens = xr.DataArray | tuple[int, ...]
"""A bool mask ``[y, x]`` or ``[token]``, or positions; a negative position counts from the last token."""


def token_selection(tokens: Any) -> Tokens:
    """A selection of tokens in its one form.

    Args:
        tokens: a bool mask ``[y, x]`` of the whole grid, or ``[token]``, which only its length ties to a run; a
            labelled mask goes by its names: dims ``y`` and ``x`` in either order, or ``token``, with or without
            coordinates ``y`` and ``x``. Or different token positions.

    Raises:
        InputError: it is neither, is empty, or has dims or labels of something else.
    """
    array = tokens if isinstance(tokens, xr.DataArray) else _unlabelled(tokens)
    if array.size and array.dtype == bool and set(array.dims) in ({"y", "x"}, {"token"}):
        return _whole_mask(array)
    positions = array.values.ravel().tolist()
    if (
        not np.issubdtype(array.dtype, np.integer)
        or array.ndim > 1
        or not 0 < len(positions) == len(set(positions))
    ):
        raise InputError(
            f"{array.size} tokens of dtype {array.dtype} with dims {array.dims}",
            "a bool mask [y, x] or [token], or different whole-number positions",
            "Turn a mask of 0 and 1 into bool with mask.astype(bool); take the mask of one sample.",
        )
    return tuple(positions)


def token_positions(selection: Tokens | None, n_tokens: int, grid: tuple[int, int] | None) -> np.ndarray:
    """The selected positions int64 ``[token]`` in ascending order, each once.

    Args:
        selection: what to select; None for all tokens.
        n_tokens: number of tokens of the stream.
        grid: (height, width) of the image stream in tokens, which a mask ``[y, x]`` needs.

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
    expected = grid if selection.ndim == 2 and grid is not None else (n_tokens,)
    if selection.shape != expected:
        raise InputError(
            f"a mask of {' x '.join(map(str, selection.shape))} tokens",
            f"a mask of {' x '.join(map(str, expected))} tokens, {' x '.join(map(str, selection.dims))}",
            "Take the mask at the run's own height and width.",
        )
    return np.flatnonzero(selection.values)


def _unlabelled(tokens: Any) -> xr.DataArray:
    if isinstance(tokens, torch.Tensor):
        tokens = tokens.cpu()
    values = np.asarray(sorted(tokens) if isinstance(tokens, set | frozenset) else tokens)
    names = ("y", "x") if values.ndim == 2 else ("token",)
    return xr.DataArray(values, dims=names if values.ndim in (1, 2) else None)


def _whole_mask(mask: xr.DataArray) -> xr.DataArray:
    """A bool mask in the order of its labels, which must be those of a whole grid or stream."""
    if mask.dims == ("token",) and {"y", "x"} <= set(mask.coords):
        y, x = (np.asarray(mask[name].values, dtype=int) for name in ("y", "x"))
        whole = np.full((y.max() + 1, x.max() + 1), -1)
        whole[y, x] = mask.values
        if whole.size != mask.size or (whole < 0).any():
            raise _not_whole(mask, f"{mask.size} tokens of a grid of {whole.shape[0]} x {whole.shape[1]}")
        return xr.DataArray(whole.astype(bool), dims=("y", "x"))
    for dim in mask.indexes:
        if sorted(mask.indexes[dim]) != list(range(mask.sizes[dim])):
            raise _not_whole(mask, f"labels {mask.indexes[dim].tolist()} of {dim}")
        mask = mask.sortby(dim)
    names = ("y", "x") if mask.ndim == 2 else ("token",)
    return xr.DataArray(mask.transpose(*names).values, dims=names)


def _not_whole(mask: xr.DataArray, problem: str) -> InputError:
    return InputError(
        f"a token mask with {problem}",
        "labels from 0 on, each once",
        "Pass the mask of the whole image, False elsewhere.",
    )
