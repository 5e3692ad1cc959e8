"""Do the same channels lead everywhere? Agreement of top-k sets between blocks, steps, prompts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ditscope.errors import InputError
from ditscope.plots._axes import beside, colour_bar, frameless, some
from ditscope.plots._labels import (
    headline,
    in_order,
    labels,
    pretty,
    require_filled,
    require_variables,
    values,
)
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, AGREEMENT, DATA_INK, DATA_PAPER, points, styled
from ditscope.plots._text import DASH

__all__ = ["jaccard_matrix"]

_WRITTEN = 12
_PANELS = ("sample", "step", "branch", "block")


@styled
def jaccard_matrix(
    stability: xr.Dataset | xr.DataArray,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.stability` returns: overlap of the top-k sets, 0 (disjoint) to 1 (the same).

    One panel for each of ``jaccard_sample``, ``jaccard_step``, ``jaccard_branch`` and ``jaccard_block`` that is
    there, averaged over blocks where there is one matrix for each, all on one colour scale.

    Args:
        stability: the whole result; or one matrix `[a, b]` with as many a as b, such as `[block, block_other]`. Its
            attr ``chance``, the agreement of random sets of the same size, is marked on the colour bar.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: there is no matrix, one is not square, or has values outside 0 to 1.
    """
    panels = _panels(stability)
    columns = {4: 2}.get(len(panels), len(panels))
    rows = -(-len(panels) // columns)
    shown = next(iter(panels.values()))
    chance = max(
        (panel.attrs["chance"] for panel in panels.values() if "chance" in panel.attrs), default=None
    )
    side = {1: 4.6, 2: 3.7, 3: 3.1}[columns]
    notes = (
        [f"1 = the same channels, 0 = none in common. Random sets would reach {chance:.2g}."]
        if chance
        else []
    )
    if isinstance(stability, xr.Dataset) and set(panels) != {"between blocks"}:
        notes.append("Samples, steps and branches: mean over blocks.")
    figure, body = sheet(
        columns * side + 1.3,
        rows * side * 0.98,
        title=title or "Agreement of the leading channels",
        headline=headline(shown.assign_attrs(stability.attrs | shown.attrs), about),
        note=" ".join(notes),
        **place,
    )
    axes = body.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax, (name, panel) in zip(axes, panels.items(), strict=True):
        image = ax.imshow(values(panel), cmap=AGREEMENT, vmin=0, vmax=1, interpolation="nearest")
        if name:
            ax.set_title(name)
        _ticks(ax, panel, int(side / 0.17))
        _numbers(ax, values(panel))
    bar = colour_bar(axes, image, "Jaccard index (0 to 1)")
    if chance:
        bar.ax.axhline(chance, color=ACCENT, linewidth=1.6)
        beside(bar.ax, "chance", (0, chance), (-3, 0), ACCENT, xycoords=bar.ax.get_yaxis_transform())
    return figure


def _panels(stability: xr.Dataset | xr.DataArray) -> dict[str, xr.DataArray]:
    """The matrices by panel title, each `[a, a_other]` with the same order of labels on both sides."""
    if not isinstance(stability, xr.Dataset):
        return {"": _square(stability)}
    names = [name for name in _PANELS if f"jaccard_{name}" in stability]
    require_variables(stability, [f"jaccard_{name}" for name in names or _PANELS], "what stability returns")
    panels = {}
    for name in names:
        matrix = in_order(stability[f"jaccard_{name}"])
        if name != "block" and "block" in matrix.dims:
            matrix = matrix.mean("block", keep_attrs=True)
        panels[f"between {name}{'es' if name == 'branch' else 's'}"] = _square(matrix)
    return panels


def _square(panel: xr.DataArray) -> xr.DataArray:
    if not isinstance(panel, xr.DataArray) or panel.ndim != 2 or panel.shape[0] != panel.shape[1]:
        passed = f"dims {dict(panel.sizes)}" if isinstance(panel, xr.DataArray) else type(panel).__name__
        raise InputError(
            passed, "a square DataArray such as [block, block_other]", "Average the other dims first."
        )
    require_filled(panel, "the matrix")
    down, across = sorted(map(str, panel.dims), key=lambda dim: "other" in dim)
    panel = in_order(panel.transpose(down, across))
    if _same(panel, down, across) and down in panel.indexes:
        panel = panel.sel({across: panel[down].values}) if across in panel.indexes else panel
    numbers = values(panel)
    if np.nanmin(numbers, initial=0.0) < 0 or np.nanmax(numbers, initial=0.0) > 1 + 1e-9:
        raise InputError(
            f"values up to {np.nanmax(numbers):.3g}", "agreement from 0 to 1", "Pass shares, not counts."
        )
    return panel


def _ticks(ax: Axes, panel: xr.DataArray, most: int) -> None:
    down, across = panel.dims
    same = _same(panel, down, across)
    ax.set_yticks(*some(labels(panel, down), most))
    # Of [block, block_other] only the first dim has names.
    at, shown = some(labels(panel, down if same else across), most)
    ax.set_xticks(at, shown, rotation=90 if max(map(len, shown)) > 2 else 0)
    ax.set(xlabel=f"other {pretty(down)}" if same else pretty(across), ylabel=pretty(down))
    ax.tick_params(length=0)
    frameless(ax)


def _same(panel: xr.DataArray, down: Hashable, across: Hashable) -> bool:
    """Whether the two dims run over the same things."""
    return across not in panel.indexes or (
        down in panel.indexes and set(panel.indexes[down]) == set(panel.indexes[across])
    )


def _numbers(ax: Axes, numbers: np.ndarray) -> None:
    """Write the numbers into the matrix while there are few enough to be read."""
    if len(numbers) > _WRITTEN:
        return
    for row, column in np.ndindex(numbers.shape):
        value = numbers[row, column]
        colour = DATA_PAPER if value > 0.56 else DATA_INK
        text = DASH if not np.isfinite(value) else "1" if value == 1 else f"{value:.2f}".lstrip("0")
        ax.text(column, row, text, ha="center", va="center", fontsize=points(7), color=colour)
