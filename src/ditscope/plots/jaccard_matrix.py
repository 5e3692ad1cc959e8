"""Do the same channels lead everywhere? Agreement of top-k sets between blocks, steps, prompts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ditscope.errors import InputError
from ditscope.plots.axes import colour_bar
from ditscope.plots.labels import facts, labels, pretty, require_filled, values
from ditscope.plots.sheet import sheet
from ditscope.plots.style import ACCENT, AGREEMENT, INK, MUTED, PAPER, styled
from ditscope.plots.text import DASH, literal

_WRITTEN = 12


@styled
def jaccard_matrix(
    matrix: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    chance: float | None = None,
    measure: str = "Jaccard index",
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """Square matrices of agreement, 0 (disjoint) to 1 (the same set), on one colour scale.

    Args:
        matrix: `[a, b]` with as many a as b, such as `[block, other_block]`; or several of them by
            panel title, such as ``{"across blocks": ..., "across steps": ...}``.
        chance: agreement of random sets of the same size, marked on the colour bar; by default the
            matrix's attr ``chance``.
        measure: the name of the number.
        title: another title.
        about: facts for the line below it.

    Raises:
        InputError: a matrix is not square, or holds values outside 0 to 1.
    """
    panels = dict(matrix) if isinstance(matrix, Mapping) else {"": matrix}
    if not panels:
        raise InputError("no matrix", "at least one", "Pass a matrix or a mapping of them.")
    for panel in panels.values():
        _check(panel)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    first = next(iter(panels.values()))
    chance = first.attrs.get("chance") if chance is None else chance
    side = {1: 4.6, 2: 3.7, 3: 3.1}[columns]
    note = (
        f"1 = the same channels, 0 = none in common. Random sets would reach {chance:.2g}."
        if chance is not None
        else ""
    )
    figure = sheet(
        columns * side + 1.3,
        rows * side * 0.98,
        title=title or "Agreement of the leading channels",
        facts=facts(first, about),
        note=note,
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    image = None
    for ax, (name, panel) in zip(grid.flat, panels.items(), strict=False):
        image = ax.imshow(values(panel), cmap=AGREEMENT, vmin=0, vmax=1, interpolation="nearest")
        if name:
            ax.set_title(literal(name))
        _ticks(ax, panel, int(side / 0.17))
        _numbers(ax, values(panel))
    for ax in grid.flat[len(panels) :]:
        ax.remove()
    assert image is not None
    bar = colour_bar(list(grid.flat[: len(panels)]), image, f"{measure} (0 to 1)")
    if chance is not None:
        bar.ax.axhline(chance, color=ACCENT, linewidth=1.6)
        bar.ax.annotate(
            "chance",
            (0, chance),
            xycoords=bar.ax.get_yaxis_transform(),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7.5,
            color=ACCENT,
        )
    return figure


def _check(panel: xr.DataArray) -> None:
    if not isinstance(panel, xr.DataArray) or panel.ndim != 2 or panel.shape[0] != panel.shape[1]:
        found = f"dims {dict(panel.sizes)}" if isinstance(panel, xr.DataArray) else type(panel).__name__
        raise InputError(
            found, "a square DataArray such as [block, other_block]", "Average the other dims first."
        )
    require_filled(panel, "the matrix")
    numbers = values(panel)
    if np.nanmin(numbers, initial=0.0) < 0 or np.nanmax(numbers, initial=0.0) > 1 + 1e-9:
        raise InputError(
            f"values up to {np.nanmax(numbers):.3g}", "agreement from 0 to 1", "Pass shares, not counts."
        )


def _ticks(ax: Axes, panel: xr.DataArray, most: int) -> None:
    down, across = panel.dims
    for axis, dim in (("y", down), ("x", across)):
        names = labels(panel, dim)
        # [block, block_other]: the second dim may carry its names only on the first.
        if dim == across and f"{dim}_name" not in panel.coords and _same(panel, down, across):
            names = labels(panel, down)
        stride = -(-len(names) // most)
        places = list(range(0, len(names), stride))
        shown = [literal(names[place]) for place in places]
        if axis == "x":
            ax.set_xticks(places, shown, rotation=90 if max(map(len, shown)) > 2 else 0)
        else:
            ax.set_yticks(places, shown)
    ax.set(xlabel=pretty(across), ylabel=pretty(down))
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _same(panel: xr.DataArray, down: Hashable, across: Hashable) -> bool:
    """Whether the two dims run over the same things."""
    return across not in panel.coords or (
        down in panel.coords and np.array_equal(panel[down].values, panel[across].values)
    )


def _numbers(ax: Axes, numbers: np.ndarray) -> None:
    """Write the values into the cells while there are few enough to be read."""
    if len(numbers) > _WRITTEN:
        return
    for row, column in np.ndindex(numbers.shape):
        value = numbers[row, column]
        colour = MUTED if not np.isfinite(value) else PAPER if value > 0.56 else INK
        text = DASH if not np.isfinite(value) else "1" if value == 1 else f"{value:.2f}".lstrip("0")
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
