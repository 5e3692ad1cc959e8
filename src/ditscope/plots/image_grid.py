"""Images side by side: baseline and edits, prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ditscope import checks
from ditscope.errors import InputError
from ditscope.plots._axes import bare, name_row
from ditscope.plots._images import as_pixels, image_dims
from ditscope.plots._labels import (
    align,
    down_first,
    headline,
    require_dims,
    require_filled,
    require_variables,
    row_names,
)
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import INK, MUTED, points, styled
from ditscope.plots._text import literal, wrap

__all__ = ["image_grid"]

_ROW_WORDS = 1.35
_UNEDITED = "unedited"


@styled
def image_grid(
    images: xr.DataArray | xr.Dataset,
    *,
    rows: str | None = None,
    captions: xr.DataArray | None = None,
    wrap_at: int = 8,
    side: float | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws the images of :func:`ditscope.experiments.compare`, of a cache (``cache.images``), or any others.

    Args:
        images: what ``compare`` returns: one row a sample, the unedited image beside the first draw of each edit.
            Or images `[..., y_pixel, x_pixel, rgb]`, uint8 or floats from 0 to 1, with two dims beside these for
            rows and columns, such as `[sample, edit, ...]`, or with one, which is wrapped into rows. Their labels
            are written; where there is a coord ``prompt`` along a dim, the prompts.
        rows: the dim that runs down; by default samples before draws, steps, branches, blocks and edits.
        captions: text or numbers with the dims of rows and columns, in any order of dims and labels, written
            under each image; the unedited images of a comparison need none.
        wrap_at: images in a row when one dim is wrapped.
        side: width of one image in inches; by default what fills the page.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: the dims are no grid of images, or the captions lack one.
    """
    checks.whole_number("wrap_at", wrap_at)
    if isinstance(images, xr.Dataset):
        images = _side_by_side(images)
        if isinstance(captions, xr.DataArray) and _UNEDITED not in captions.indexes.get("edit", [_UNEDITED]):
            edits = [*captions["edit"].values, _UNEDITED]
            captions = captions.astype(object).reindex(edit=edits, fill_value="")
    y, x, rgb = image_dims(images)
    require_filled(images, "the images")
    leading = [dim for dim in images.dims if dim not in (y, x, rgb)]
    if len(leading) not in (1, 2):
        raise InputError(
            f"dims [{', '.join(map(str, images.dims))}]",
            f"one or two dims before [{y}, {x}, {rgb}]",
            "Select one of the other dims.",
        )
    dims = down_first(leading, None if rows is None else checks.name_of("rows", rows, map(str, leading)))
    images = images.transpose(*dims, y, x, rgb)
    if captions is not None:
        captions = align(require_dims(captions, dims, "captions"), images, "captions")
    pixels = as_pixels(images)
    names = [row_names(images, dim) for dim in dims]
    across = min(wrap_at, len(pixels)) if len(dims) == 1 else pixels.shape[1]
    down = -(-len(pixels) // across) if len(dims) == 1 else len(pixels)
    side = side or float(np.clip(8.6 / across, 0.85, 2.1))
    aspect = images.sizes[y] / images.sizes[x]
    texts = {}
    for index in np.ndindex(pixels.shape[:-3]):
        parts = [names[0][index[0]]] if len(dims) == 1 else []
        parts += [] if captions is None else [_written(captions.values[index])]
        texts[index] = "\n".join(wrap(part, side, 7.2, lines=4) for part in parts)
    heads = (
        [wrap(name, side - 0.06, 8.5, weight="bold", lines=5) for name in names[1]] if len(dims) == 2 else []
    )
    deepest = max(text.count("\n") + 1 if text else 0 for text in texts.values())
    heading = max((head.count("\n") + 1 for head in heads), default=0)
    figure, body = sheet(
        max(across * (side + 0.07) + (_ROW_WORDS + 0.15 if heads else 0.1), 4.2),
        down * (side * aspect + 0.1 + deepest * 0.122) + heading * 0.16 + 0.1,
        title=title or "Images side by side",
        headline=headline(images, about),
        **place,
    )
    axes = body.subplots(down, across, squeeze=False)
    for ax, (index, text) in zip(axes.flat, texts.items(), strict=False):
        bare(ax)
        ax.imshow(pixels[index], interpolation="auto")
        if heads and index[0] == 0:
            ax.set_title(literal(heads[index[1]]), fontsize=points(8.5), loc="center", color=INK, pad=4)
        if heads and index[1] == 0:
            name_row(ax, wrap(names[0][index[0]], _ROW_WORDS, 7.8, lines=max(int(side * aspect / 0.135), 2)))
        if text:
            ax.set_xlabel(literal(text), fontsize=points(7.2), color=MUTED, labelpad=2.5, linespacing=1.2)
    for ax in axes.flat[len(texts) :]:
        ax.remove()
    return figure


def _side_by_side(comparison: xr.Dataset) -> xr.DataArray:
    """The images of a comparison, the unedited one before the first draw of each edit."""
    comparison = require_variables(comparison, ["images", "baseline_images"], "what compare returns")
    edited = comparison["images"]
    if "draw" in edited.dims:
        edited = edited.isel(draw=0)
    along = [name for name, coord in edited.coords.items() if "edit" in coord.dims and name != "edit"]
    unedited = comparison["baseline_images"].expand_dims(edit=[_UNEDITED])
    unedited = unedited.assign_coords({"draw": edited["draw"]} if "draw" in edited.coords else {})
    pictures = xr.concat([unedited, edited.drop_vars(along)], dim="edit", coords="minimal", compat="override")
    return pictures.assign_attrs(comparison.attrs)


def _written(caption: object) -> str:
    return f"{caption:.3g}" if isinstance(caption, float | np.floating) else str(caption)
