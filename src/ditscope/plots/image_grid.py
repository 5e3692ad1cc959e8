"""Images side by side: baseline and edits, prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ditscope.errors import InputError
from ditscope.plots.axes import bare
from ditscope.plots.labels import facts, image_dims, labels, require_filled
from ditscope.plots.sheet import sheet
from ditscope.plots.style import ACCENT, INK, MUTED, styled
from ditscope.plots.text import literal, wrap

_ROW_WORDS = 1.35


@styled
def image_grid(
    images: xr.DataArray,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    captions: xr.DataArray | None = None,
    wrap_at: int = 8,
    cell: float | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """A grid of images with its rows and columns named.

    Args:
        images: `[row, column, y_pixel, x_pixel, rgb]` under any names for the first two dims, such
            as `[sample, edit, ...]`; or `[sample, y_pixel, x_pixel, rgb]`, wrapped into rows. uint8,
            or floats from 0 to 1.
        rows: labels of the rows; by default the coord ``prompt`` along the dim, else the dim's coord.
        columns: labels of the columns, by default likewise.
        captions: text or numbers `[row, column]` written under each image.
        wrap_at: images in a row when there is one leading dim.
        cell: inches of one image; by default what fills the page width.
        title: another title.
        about: facts for the line below it.

    Raises:
        InputError: the dims are no grid of images, or labels are too few or too many.
    """
    y, x, rgb = image_dims(images)
    require_filled(images, "the images")
    leading = [dim for dim in images.dims if dim not in (y, x, rgb)]
    if len(leading) not in (1, 2):
        raise InputError(
            f"dims [{', '.join(map(str, images.dims))}]",
            f"one or two dims before [{y}, {x}, {rgb}]",
            "Select one of the other dims.",
        )
    images = images.transpose(*leading, y, x, rgb)
    pixels = as_pixels(images)
    grid: list[list[tuple[int, ...]]]
    if len(leading) == 2:
        grid = [[(row, column) for column in range(pixels.shape[1])] for row in range(pixels.shape[0])]
        row_names = _names(images, leading[0], rows, "rows")
        column_names = _names(images, leading[1], columns, "columns")
        cell_names = None
    else:
        order = list(range(pixels.shape[0]))
        grid = [
            [(index,) for index in order[start : start + wrap_at]] for start in range(0, len(order), wrap_at)
        ]
        row_names, column_names = [], []
        cell_names = _names(images, leading[0], columns, "columns")
    across = max(map(len, grid))
    side = cell or float(np.clip(8.6 / across, 0.85, 2.1))
    aspect = images.sizes[y] / images.sizes[x]
    texts = {index: _caption(captions, index, cell_names, side) for line in grid for index in line}
    deepest = max((text.count("\n") + 1 for text in texts.values() if text), default=0)
    heading = max(
        (wrap(name, side - 0.06, 8.5, weight="bold", lines=3).count("\n") + 1 for name in column_names),
        default=0,
    )
    height = len(grid) * (side * aspect + 0.1 + deepest * 0.122) + heading * 0.16
    figure = sheet(
        max(across * (side + 0.07) + (_ROW_WORDS + 0.15 if row_names else 0.1), 4.2),
        height + 0.1,
        title=title or "Images side by side",
        facts=facts(images, about),
    )
    axes = figure.subplots(len(grid), across, squeeze=False)
    for r, line in enumerate(grid):
        for c in range(across):
            ax = axes[r, c]
            bare(ax)
            if c >= len(line):
                ax.remove()
                continue
            ax.imshow(pixels[line[c]], interpolation="auto")
            if r == 0 and column_names:
                first = c == 0
                ax.set_title(
                    literal(wrap(column_names[c], side - 0.06, 8.5, weight="bold", lines=3)),
                    fontsize=8.5,
                    loc="center",
                    color=INK if first else ACCENT if c == 1 else INK,
                    pad=4,
                )
            if c == 0 and row_names:
                lines = max(int(side * aspect / 0.135), 2)
                ax.set_ylabel(
                    literal(wrap(row_names[r], _ROW_WORDS, 7.8, lines=lines)),
                    fontsize=7.8,
                    rotation=0,
                    ha="right",
                    va="center",
                    color=INK,
                    labelpad=6,
                    linespacing=1.25,
                )
            if texts[line[c]]:
                ax.set_xlabel(
                    literal(texts[line[c]]), fontsize=7.2, color=MUTED, labelpad=2.5, linespacing=1.2
                )
    return figure


def as_pixels(images: xr.DataArray) -> np.ndarray:
    """uint8 as it is; floats from 0 to 1 rounded to uint8.

    Raises:
        InputError: floats outside 0 to 1, or not finite.
    """
    raw = images.values
    if raw.dtype == np.uint8:
        return raw
    numbers = raw.astype(np.float64)
    if not np.isfinite(numbers).all() or numbers.min() < -1e-6 or numbers.max() > 1 + 1e-6:
        raise InputError(
            f"image values from {np.nanmin(numbers):.3g} to {np.nanmax(numbers):.3g}",
            "uint8, or floats from 0 to 1",
            "Rescale the images.",
        )
    return np.rint(numbers * 255).clip(0, 255).astype(np.uint8)


def _names(images: xr.DataArray, dim: object, given: Sequence[str] | None, what: str) -> list[str]:
    size = images.sizes[dim]
    if given is not None:
        if len(given) != size:
            raise InputError(f"{len(given)} labels for {what}", f"{size}", "Give one label each.")
        return [str(name) for name in given]
    if "prompt" in images.coords and images.coords["prompt"].dims == (dim,):
        return [str(prompt) for prompt in images.coords["prompt"].values]
    return labels(images, str(dim))


def _caption(
    captions: xr.DataArray | None, index: tuple[int, ...], names: list[str] | None, side: float
) -> str:
    parts = [] if names is None else [names[index[0]]]
    if captions is not None:
        value = captions.values[index]
        parts.append(f"{value:.3g}" if isinstance(value, float | np.floating) else str(value))
    return "\n".join(wrap(part, side, 7.2, lines=4) for part in parts)
