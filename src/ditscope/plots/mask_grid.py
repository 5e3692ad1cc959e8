"""Masks on the latent grid, drawn over their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope import checks
from ditscope.errors import InputError
from ditscope.plots._axes import bare, name_row
from ditscope.plots._images import as_pixels, image_dims
from ditscope.plots._labels import (
    align,
    down_first,
    headline,
    labels,
    pretty,
    require_dims,
    require_filled,
    row_names,
    variable,
)
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, INK, PAPER, points, styled
from ditscope.plots._text import DASH, literal, wrap

__all__ = ["mask_grid"]

_GRID = {"y_pixel": "y", "x_pixel": "x"}
_REFERENCE = "#0072b2"
_DASH = (0, (2.6, 1.6))
_IOU_NOTE = " Numbers are IoU with the reference."


@styled
def mask_grid(
    images: xr.DataArray,
    masks: xr.Dataset | xr.DataArray,
    *,
    reference: xr.DataArray | None = None,
    iou: xr.Dataset | xr.DataArray | None = None,
    rows: str | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.spatial_masks` returns, over the images that they are masks of.

    Outside the mask the image is washed out; the mask's outline follows the latent grid exactly. Rows and columns
    are in the order of the masks' labels, and everything else is matched by label.

    Args:
        images: `[y_pixel, x_pixel, rgb]`, with dims of the masks beside them where the image differs along these
            (`[sample, y_pixel, x_pixel, rgb]`).
        masks: what ``spatial_masks`` returns, or its ``mask``: True for foreground, `[y, x]` with at most two
            further dims, such as `[sample, block, y, x]`; or `[..., token]` with the coords y and x.
        reference: the reference mask, `[y, x]` or `[y_pixel, x_pixel]` on its own grid, with further dims as images.
        iou: what :func:`ditscope.passes.score_masks` returns, or its ``iou``, with the masks' further dims.
        rows: the dim that runs down; by default samples before draws, steps, branches and blocks.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: dims or labels do not fit together, or the masks have other values than 0 and 1.
    """
    pixels = image_dims(images)
    masks = _mask(on_grid(variable(masks, "mask", "what spatial_masks returns")), "masks")
    dims = [str(dim) for dim in masks.dims if dim not in ("y", "x")]
    if len(dims) > 2:
        raise InputError(
            f"masks with dims [{', '.join(map(str, masks.dims))}]",
            "at most two dims beside [y, x]",
            f"Select one of {', '.join(dims)} first.",
        )
    dims = down_first(dims, None if rows is None else checks.name_of("rows", rows, dims))
    images = _fit(images, masks, pixels, "images")
    if reference is not None:
        pixel_dims = {name: dim for name, dim in _GRID.items() if name in reference.dims}
        reference = _mask(on_grid(reference.rename(pixel_dims)), "reference")
        reference = _fit(reference, masks, ("y", "x"), "reference")
    if iou is not None:
        iou = align(require_dims(variable(iou, "iou", "what score_masks returns"), dims, "iou"), masks, "iou")
    words = " and ".join(map(pretty, dims))
    # What is missing of rows and columns is a dim of one label.
    if not dims or (len(dims) == 1 and dims[0] in ("step", "branch", "block")):
        masks, dims = masks.expand_dims(row=[""]), ["row", *dims]
    if len(dims) == 1:
        masks, dims = masks.expand_dims(column=["mask"]), [*dims, "column"]
    row, column = dims
    down, across = masks.sizes[row], masks.sizes[column]
    beside = column not in images.dims and (reference is None or column not in reference.dims)
    columns = across + int(beside)
    side = float(np.clip(9.0 / columns, 0.78, 1.9))
    aspect = images.sizes[pixels[0]] / images.sizes[pixels[1]]
    heads = [wrap(name, side, 8.0, lines=3) for name in [*["image"] * beside, *labels(masks, column)]]
    figure, body = sheet(
        max(columns * (side + 0.06) + 1.2, 5.2),
        down * (side * aspect + 0.08) + max(head.count("\n") + 1 for head in heads) * 0.15 + 0.12,
        title=title or (f"Foreground masks by {words}" if words else "Foreground mask"),
        headline=headline(masks, about),
        note="Washed-out tokens are background." + (_IOU_NOTE if iou is not None else ""),
        legend=_legend(reference is not None),
        **place,
    )
    axes = body.subplots(down, columns, squeeze=False)
    names = [f"{pretty(row)} {name}" if name.isdigit() else name for name in row_names(masks, row)]
    for r, c in np.ndindex(axes.shape):
        ax: Any = axes[r, c]
        at = {row: r, column: c - int(beside)}
        bare(ax)
        ax.imshow(as_pixels(_at(images, at)), extent=(0, 1, 1, 0), aspect=aspect, interpolation="auto")
        if c or not beside:
            mask = _at(masks, at).values
            _wash(ax, mask)
            _outline(ax, mask, "mask", min(side, 1.4))
            if iou is not None:
                _corner(ax, float(_at(iou, at)))
        if reference is not None:
            _outline(ax, _at(reference, at).values, "reference", min(side, 1.4))
        if r == 0:
            ax.set_title(
                literal(heads[c]), fontsize=points(8), fontweight="normal", loc="center", pad=3, color=INK
            )
        if c == 0:
            name_row(ax, wrap(names[r], 1.0, 7.8, lines=max(int(side * aspect / 0.14), 2)))
    return figure


def on_grid(array: xr.DataArray) -> xr.DataArray:
    """A flat token dim with coords y and x, as two dims y and x.

    Raises:
        InputError: there is neither a grid nor the coords that make one.
    """
    if not isinstance(array, xr.DataArray):
        raise InputError(type(array).__name__, "a DataArray of masks", "Label the array first.")
    if {"y", "x"} <= set(array.dims):
        return array.sortby([dim for dim in ("y", "x") if dim in array.indexes])
    if "token" not in array.dims or not {"y", "x"} <= set(array.coords):
        raise InputError(
            f"dims [{', '.join(map(str, array.dims))}]",
            "dims y and x, or token with coords y and x",
            "Use masks of the image stream.",
        )
    return array.drop_vars("token", errors="ignore").set_index(token=["y", "x"]).unstack("token")


def _mask(array: xr.DataArray, what: str) -> xr.DataArray:
    require_filled(array, what)
    raw = array.values
    if raw.dtype != bool and not np.isin(raw, (0, 1)).all():
        raise InputError(f"other values than 0 and 1 in {what}", "booleans", "Threshold the map first.")
    outer = [dim for dim in array.dims if dim not in ("y", "x")]
    return array.astype(bool).transpose(*outer, "y", "x")


def _fit(array: xr.DataArray, masks: xr.DataArray, inner: Sequence[str], what: str) -> xr.DataArray:
    """The array with dims of the masks in front of its own, labelled as they are."""
    front = [dim for dim in masks.dims if dim not in ("y", "x")]
    kept = [dim for dim in front if dim in array.dims]
    if set(array.dims) != {*kept, *inner}:
        beside = f", and {' or '.join(map(str, front))} beside these where they differ" if front else ""
        wanted = f"{what} with dims [{', '.join(inner)}]{beside}"
        raise InputError(f"dims [{', '.join(map(str, array.dims))}]", wanted, "Select one of the other dims.")
    # The rows and columns of pixels are those of another grid.
    return align(array.transpose(*kept, *inner), masks.isel(y=0, x=0, drop=True), what)


def _at(array: xr.DataArray, position: Mapping[str, int]) -> xr.DataArray:
    return array.isel({dim: index for dim, index in position.items() if dim in array.dims})


def _wash(ax: Axes, mask: np.ndarray) -> None:
    veil = np.zeros((*mask.shape, 4))
    veil[...] = to_rgba(PAPER)
    veil[..., 3] = np.where(mask, 0.0, 0.68)
    ax.imshow(veil, extent=(0, 1, 1, 0), aspect=ax.get_aspect(), interpolation="nearest")


def borders(mask: np.ndarray) -> list[np.ndarray]:
    """The closed lines between inside and outside, as vertices (x, y) in units of tokens."""
    framed = np.pad(mask, 1).astype(np.int8)
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    down, right = np.diff(framed, axis=0)[:, 1:-1], np.diff(framed, axis=1)[1:-1, :]
    for y, x in np.argwhere(down).tolist():
        start, end = ((x, y), (x + 1, y)) if down[y, x] > 0 else ((x + 1, y), (x, y))
        edges.setdefault(start, []).append(end)
    for y, x in np.argwhere(right).tolist():
        start, end = ((x, y + 1), (x, y)) if right[y, x] > 0 else ((x, y), (x, y + 1))
        edges.setdefault(start, []).append(end)
    loops: list[np.ndarray] = []
    while edges:
        first = at = next(iter(edges))
        loop = [first]
        while True:
            ends = edges[at]
            onward = ends.pop()
            if not ends:
                del edges[at]
            at = onward
            loop.append(at)
            if at == first:
                break
        loops.append(np.array(loop, dtype=float))
    return loops


def _outline(ax: Axes, mask: np.ndarray, name: str, weight: float) -> None:
    """A mask's borders, exactly on its own grid."""
    loops = [loop / (mask.shape[1], mask.shape[0]) for loop in borders(mask)]
    if name == "mask":
        lines = LineCollection(loops, colors=[ACCENT], linewidths=1.35 * weight, gid=name, clip_on=False)
        halo = patheffects.Stroke(linewidth=1.35 * weight + 1.0, foreground=PAPER, alpha=0.8)
        lines.set_path_effects([halo, patheffects.Normal()])
    else:
        lines = LineCollection(
            loops, colors=[_REFERENCE], linewidths=1.0 * weight, linestyles=[_DASH], gid=name, clip_on=False
        )
    ax.add_collection(lines, autolim=False)


def _legend(reference: bool) -> list[Line2D]:
    handles = [Line2D([], [], color=ACCENT, linewidth=1.8, label="mask")]
    if reference:
        handles.append(
            Line2D([], [], color=_REFERENCE, linewidth=1.4, linestyle=_DASH, label="reference mask")
        )
    return handles


def _corner(ax: Axes, value: float) -> None:
    text = f"{value:.2f}" if np.isfinite(value) else DASH
    ax.text(
        0.04,
        0.05,
        text,
        transform=ax.transAxes,
        fontsize=points(7),
        color=INK,
        ha="left",
        va="bottom",
        bbox={"boxstyle": "round,pad=0.18", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85},
    )
