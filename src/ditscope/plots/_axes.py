"""Small things several figures do to their axes: block ticks, the double/single boundary, colour bars."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from ditscope.plots._labels import kind_spans, labels
from ditscope.plots._style import DATA_GREY, INK, MUTED, RULE, points
from ditscope.plots._text import MINUS, literal

PLAIN = FuncFormatter(lambda value, _: number(value))


def number(value: float) -> str:
    """A tick's number without mathematics: 0.01, 3, 2,000, 1e6."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    else:
        digits, exponent = f"{value:.0e}".split("e")
        text = f"{digits}e{int(exponent)}"
    return text.replace("-", MINUS)


def log_axis(axis: Any, low: float, high: float, *, first: float = 0.0) -> None:
    """Plain numbers on a log axis, with 2 and 5 between the tens on a short range; none under ``first``."""
    decades = np.log10(high / low) if low > 0 else 9.0
    steps = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value) if value >= first else ""))
    axis.set_minor_formatter(NullFormatter())
    if decades < 1.2:
        axis.set_minor_locator(NullLocator())


def some(names: list[str], most: int) -> tuple[list[int], list[str]]:
    """Positions and names of the ticks when at most ``most`` of the names are shown."""
    at = list(range(0, len(names), -(-len(names) // most)))
    return at, [literal(names[index]) for index in at]


def block_ticks(ax: Axes, array: xr.DataArray, *, along: str, most: int = 60, boundary: bool = True) -> None:
    """Name the blocks along "x" or "y", and rule a line where their kind changes.

    Args:
        ax: where block ``i`` is drawn at ``i``.
        array: carries the dim ``block`` and its coords.
        along: "x" or "y".
        most: more blocks than this are named every second, third... one.
        boundary: draw the line between kinds.
    """
    at, shown = some(labels(array, "block"), most)
    if along == "x":
        ax.set_xticks(at, shown, rotation=90 if len(shown) > 12 else 45 if max(map(len, shown)) > 3 else 0)
        if len(shown) <= 12 and max(map(len, shown)) > 3:
            for label in ax.get_xticklabels():
                label.set(ha="right", va="center", rotation_mode="anchor")
    else:
        ax.set_yticks(at, shown)
    if boundary:
        for _, first, _ in kind_spans(array)[1:]:
            line = ax.axvline if along == "x" else ax.axhline
            line(first - 0.5, color=DATA_GREY, linewidth=0.9, dashes=(4, 3), zorder=3, gid="kind boundary")


def kind_names(ax: Axes, array: xr.DataArray, *, most: int = 4) -> None:
    """Write the kinds of block above an axes whose x is the block."""
    spans = [span for span in kind_spans(array) if span[0]]
    if not 2 <= len(spans) <= most:
        return
    for word, first, last in spans:
        at: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        ax.text((first + last) / 2, 1.01, word, fontsize=points(7.5), color=MUTED, **at)


def colour_bar(
    axes: Axes | list[Axes], mappable: Any, label: str, *, extend: str = "neither", aspect: float = 30.0
) -> Colorbar:
    """A slim colour bar beside one axes or several, with plain numbers."""
    figure = (axes[0] if isinstance(axes, list) else axes).get_figure(root=False)
    assert figure is not None
    bar = figure.colorbar(mappable, ax=axes, extend=extend, fraction=0.035, aspect=aspect, pad=0.02)
    bar.outline.set(edgecolor=RULE, linewidth=0.8)
    bar.set_label(label, fontsize=points(8.5))
    norm = mappable.norm
    if isinstance(norm, LogNorm):
        log_axis(bar.ax.yaxis, float(norm.vmin or 1), float(norm.vmax or 1))
    return bar


def frameless(ax: Axes) -> None:
    """No frame around an axes that is filled to its edges."""
    for spine in ax.spines.values():
        spine.set_visible(False)


def bare(ax: Axes) -> None:
    """No ticks and no frame: an axes that holds a picture."""
    ax.set_xticks([])
    ax.set_yticks([])
    frameless(ax)


def name_row(ax: Axes, words: str) -> None:
    """Name a row of pictures, at the left of its first one."""
    style: dict[str, Any] = {"rotation": 0, "ha": "right", "va": "center", "labelpad": 6, "linespacing": 1.25}
    ax.set_ylabel(literal(words), fontsize=points(7.8), color=INK, **style)


def beside(
    ax: Axes,
    words: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    colour: str = INK,
    **style: Any,
) -> None:
    """Write words beside a point: ``offset`` is in points, and to the left of it where it is negative."""
    side = {"ha": "right" if offset[0] < 0 else "left", "va": "center", "size": points(7.5)}
    ax.annotate(words, at, xytext=offset, textcoords="offset points", color=colour, **side | style)


def grid(ax: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Quiet grid lines behind the data."""
    ax.grid(True, axis=axis)
    ax.tick_params(which="both", length=0, axis=axis)


def mark_top(ax: Axes, at: list[int], names: list[Any], colour: str) -> None:
    """Name positions on the x axis above the axes."""
    if not at:
        return
    top = ax.secondary_xaxis("top")
    top.xaxis.set_major_locator(FixedLocator(at))
    top.set_xticks(at, [literal(name) for name in names])
    top.tick_params(length=3, color=colour, labelcolor=colour, labelsize=points(7.5), pad=1)
    top.spines["top"].set_visible(False)
