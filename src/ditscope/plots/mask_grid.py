"""Masks on the latent grid, drawn over the images they were found in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.errors import InputError
from ditscope.plots.axes import bare
from ditscope.plots.image_grid import as_pixels
from ditscope.plots.labels import facts, image_dims, labels, pretty, require_dims, require_filled
from ditscope.plots.sheet import sheet
from ditscope.plots.style import ACCENT, INK, PAPER, styled
from ditscope.plots.text import DASH, literal, wrap

_REFERENCE = "#0072b2"
_DASH = (0, (2.6, 1.6))
_IOU_NOTE = " Numbers are IoU with the reference."


@styled
def mask_grid(
    images: xr.DataArray,
    masks: xr.DataArray,
    *,
    reference: xr.DataArray | None = None,
    iou: xr.DataArray | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """Foreground masks over their images, one cell per row and column, beside the bare image.

    Outside the mask the image is washed out; the mask's outline follows the latent grid exactly.

    Args:
        images: `[y_pixel, x_pixel, rgb]`, with a row or column dim of the masks in front where the
            image differs along it (`[sample, y_pixel, x_pixel, rgb]`).
        masks: True for foreground, `[row, column, y, x]` under any names for the first two dims,
            such as `[step, block, y, x]` or `[sample, block, y, x]`; or `[..., token]` with the
            coords y and x.
        reference: the reference mask, `[y, x]` on its own grid, with a row or column dim where it differs.
        iou: `[row, column]`, written into each cell.
        title: another title.
        about: facts for the line below it.

    Raises:
        InputError: the dims do not fit together, or the masks hold other values than 0 and 1.
    """
    names = image_dims(images)
    masks = _mask(on_grid(masks), "masks")
    outer = [dim for dim in masks.dims if dim not in ("y", "x")]
    if len(outer) != 2:
        raise InputError(
            f"dims [{', '.join(map(str, masks.dims))}]",
            "masks with dims [row, column, y, x]",
            "Select or add dims until two are left before the grid.",
        )
    row, column = outer
    images = _fit(images, outer, names, "images")
    if reference is not None:
        reference = _fit(_mask(on_grid(reference), "reference"), outer, ("y", "x"), "reference")
    if iou is not None:
        iou = require_dims(iou, (str(row), str(column)), "iou")
    down, across = masks.sizes[row], masks.sizes[column]
    beside = column not in images.dims and (reference is None or column not in reference.dims)
    columns = across + int(beside)
    side = float(np.clip(9.0 / columns, 0.78, 1.9))
    aspect = images.sizes[names[0]] / images.sizes[names[1]]
    heading = max(wrap(text, side, 8.0).count("\n") + 1 for text in labels(masks, column))
    figure = sheet(
        max(columns * (side + 0.06) + 1.2, 5.2),
        down * (side * aspect + 0.08) + heading * 0.15 + 0.12,
        title=title or f"Foreground masks by {pretty(row)} and {pretty(column)}",
        facts=facts(masks, about),
        note="Washed-out tokens are background." + (_IOU_NOTE if iou is not None else ""),
        legend=_legend(reference is not None),
    )
    axes = figure.subplots(down, columns, squeeze=False)
    row_names, column_names = _row_names(masks, row), labels(masks, column)
    for r in range(down):
        for c in range(columns):
            ax, place = axes[r, c], {row: r, column: c - int(beside)}
            bare(ax)
            pixels = as_pixels(_at(images, place))
            ax.imshow(pixels, extent=(0, 1, 1, 0), aspect=aspect, interpolation="auto")
            bare_cell = beside and c == 0
            if not bare_cell:
                mask = _at(masks, place).values
                _wash(ax, mask)
                _outline(ax, mask, "mask", min(side, 1.4))
            if reference is not None:
                _outline(ax, _at(reference, place).values, "reference", min(side, 1.4))
            if iou is not None and not bare_cell:
                _corner(ax, float(_at(iou, place)))
            if r == 0:
                text = "image" if bare_cell else column_names[c - int(beside)]
                ax.set_title(
                    literal(wrap(text, side, 8.0, lines=3)),
                    fontsize=8,
                    fontweight="normal",
                    loc="center",
                    pad=3,
                    color=INK,
                )
            if c == 0:
                ax.set_ylabel(
                    literal(wrap(row_names[r], 1.0, 7.8, lines=max(int(side * aspect / 0.14), 2))),
                    rotation=0,
                    ha="right",
                    va="center",
                    fontsize=7.8,
                    labelpad=6,
                    color=INK,
                    linespacing=1.2,
                )
    return figure


def on_grid(array: xr.DataArray) -> xr.DataArray:
    """A flat token dim with coords y and x, as two dims y and x.

    Raises:
        InputError: there is neither a grid nor the coords that make one.
    """
    if not isinstance(array, xr.DataArray):
        raise InputError(type(array).__name__, "a DataArray of masks", "Label the array first.")
    if {"y", "x"} <= set(array.dims):
        return array
    if "token" not in array.dims or not {"y", "x"} <= set(array.coords):
        raise InputError(
            f"dims [{', '.join(map(str, array.dims))}]",
            "dims y and x, or token with coords y and x",
            "Use masks of the image stream.",
        )
    plain = array.drop_vars([name for name in ("token",) if name in array.coords])
    return plain.set_index(token=["y", "x"]).unstack("token")


def _mask(array: xr.DataArray, what: str) -> xr.DataArray:
    require_filled(array, what)
    raw = array.values
    if raw.dtype != bool and not np.isin(raw, (0, 1)).all():
        raise InputError(f"other values than 0 and 1 in {what}", "booleans", "Threshold the map first.")
    outer = [dim for dim in array.dims if dim not in ("y", "x")]
    return array.astype(bool).transpose(*outer, "y", "x")


def _fit(array: xr.DataArray, outer: Sequence[object], inner: Sequence[str], what: str) -> xr.DataArray:
    """The array with a part of the outer dims in front of its own."""
    kept = [dim for dim in outer if dim in array.dims]
    if set(array.dims) != {*kept, *inner}:
        fronts = " or ".join(map(str, outer))
        wanted = f"{what} with dims [{', '.join(inner)}], and {fronts} in front where they differ"
        raise InputError(f"dims [{', '.join(map(str, array.dims))}]", wanted, "Select one of the other dims.")
    return array.transpose(*kept, *inner)


def _at(array: xr.DataArray, place: Mapping[object, int]) -> xr.DataArray:
    return array.isel({dim: index for dim, index in place.items() if dim in array.dims})


def _row_names(masks: xr.DataArray, row: object) -> list[str]:
    if "prompt" in masks.coords and masks.coords["prompt"].dims == (row,):
        return [str(prompt) for prompt in masks.coords["prompt"].values]
    return [f"{pretty(row)} {name}" if name.isdigit() else name for name in labels(masks, str(row))]


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
        first = place = next(iter(edges))
        loop = [first]
        while True:
            ends = edges[place]
            onward = ends.pop()
            if not ends:
                del edges[place]
            place = onward
            loop.append(place)
            if place == first:
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
        fontsize=7,
        color=INK,
        ha="left",
        va="bottom",
        bbox={"boxstyle": "round,pad=0.18", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85},
    )
