"""Where in the model and when an edit has its effect: one cell for each block and step of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ditscope import checks
from ditscope.plots._axes import block_ticks, colour_bar, frameless, kind_names, some
from ditscope.plots._labels import (
    headline,
    in_order,
    labels,
    pretty,
    require_dims,
    require_variables,
    sentence,
    values,
)
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import CHANGE, DATA_GREY, MAGNITUDE, styled
from ditscope.plots._text import literal, wrap

__all__ = ["sweep_heatmap"]

_ACROSS = 3
_SOURCE = "what sweep returns"


@styled
def sweep_heatmap(
    result: xr.Dataset,
    metric: str | None = None,
    *,
    x: str = "block",
    y: str = "step",
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.experiments.sweep.sweep` returns: the effect by block and step, a panel for each edit.

    All panels have one colour scale, around 0 where there are effects of both signs. A cell is hatched where its
    interval holds 0, or where there is none, as with a single prompt; it is grey where it has no finite number.

    Args:
        result: ``mean``, ``low`` and ``high``, each `[metric, block, step, edit]`; of a larger grid, select the labels
            of its other dims first. Optional: coords ``unit(metric)`` and ``label(metric)``.
        metric: which one; the first if it is left out.
        x: the dim across.
        y: the dim upwards.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable, a dim or the metric is missing.
    """
    result = require_variables(result, ["mean", "low", "high"], _SOURCE)
    chosen = checks.name_of(
        "metric", metric or labels(result["mean"], "metric")[0], labels(result["mean"], "metric")
    )
    dims = ("edit", y, x)
    mean, low, high = (
        require_dims(in_order(result[name].sel(metric=chosen)), dims, f"{name!r} of one metric: {_SOURCE},")
        for name in ("mean", "low", "high")
    )
    edits = labels(mean, "edit")
    numbers = values(mean)
    unsure = ~((values(low) > 0) | (values(high) < 0)) & np.isfinite(numbers)
    rows = -(-len(edits) // _ACROSS)
    columns = -(-len(edits) // rows)
    side = float(np.clip(0.17 * mean.sizes[x], 2.4, 6.0)), float(np.clip(0.15 * mean.sizes[y], 1.6, 4.5))
    hatched = Patch(
        facecolor="none", edgecolor=DATA_GREY, hatch="////", linewidth=0.6, label="interval holds 0"
    )
    words = _word(mean, "label") or pretty(chosen)
    figure, body = sheet(
        columns * side[0] + 1.6,
        rows * (side[1] + 0.75),
        title=title or sentence(f"{words}, by {pretty(x)} and {pretty(y)}"),
        headline=headline(mean.assign_attrs(result.attrs | mean.attrs), about),
        note="Grey: no finite number." if not np.isfinite(numbers).all() else "",
        legend=[hatched] if unsure.any() else (),
        **place,
    )
    axes = body.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    colours = _colours(numbers)
    for index, (ax, edit) in enumerate(zip(axes, edits, strict=False)):
        shown = np.ma.masked_invalid(numbers[index])
        image = ax.imshow(shown, origin="lower", aspect="auto", interpolation="nearest", **colours)
        _hatch(ax, unsure[index])
        named = len(edits) > 1
        ax.set_title(
            literal(wrap(edit, side[0], 9.5, weight="bold")) if named else "", pad=16 if x == "block" else 6
        )
        _ticks(ax, mean, x, y, side)
    for ax in axes[len(edits) :]:
        ax.remove()
    for row in range(rows):
        axes[row * columns].set_ylabel(pretty(y))
    for ax in axes[max(0, len(edits) - columns) : len(edits)]:
        ax.set_xlabel(pretty(x))
        ax.tick_params(labelbottom=True)
    unit = _word(mean, "unit")
    colour_bar(axes[: len(edits)], image, f"{words} ({unit})" if unit else words)
    return figure


def _colours(numbers: np.ndarray) -> dict[str, Any]:
    """One scale for all panels: around 0 where there are both signs, else from 0."""
    finite = numbers[np.isfinite(numbers)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if least < 0:
        reach = max(-least, most)
        return {"cmap": CHANGE, "vmin": -reach, "vmax": reach}
    return {"cmap": MAGNITUDE, "vmin": 0.0, "vmax": most or 1.0}


def _hatch(ax: Axes, unsure: np.ndarray) -> None:
    for row, column in np.argwhere(unsure):
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="////", edgecolor=DATA_GREY, linewidth=0))


def _ticks(ax: Axes, mean: xr.DataArray, x: str, y: str, side: tuple[float, float]) -> None:
    if x == "block":
        block_ticks(ax, mean, along="x", most=int(side[0] / 0.17))
        kind_names(ax, mean)
    else:
        ax.set_xticks(*some(labels(mean, x), int(side[0] / 0.3)))
    ax.set_yticks(*some(labels(mean, y), int(side[1] / 0.17)))
    ax.tick_params(length=0)
    frameless(ax)


def _word(mean: xr.DataArray, name: str) -> str:
    """The metric's unit or label, or nothing."""
    return str(mean.coords[name].item()) if name in mean.coords else ""
