"""Small things several figures do to their axes: block ticks, the double/single boundary, colour bars."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from ditscope.plots.labels import kind_spans, labels
from ditscope.plots.style import FAINT, INK, MUTED, RULE
from ditscope.plots.text import MINUS, literal

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


def block_ticks(ax: Axes, array: xr.DataArray, *, along: str, most: int = 60, boundary: bool = True) -> None:
    """Name the blocks along "x" or "y", and rule a line where their kind changes.

    Args:
        ax: where block ``i`` is drawn at ``i``.
        array: carries the dim ``block`` and its coords.
        along: "x" or "y".
        most: more blocks than this are named every second, third... one.
        boundary: draw the line between kinds.
    """
    names = labels(array, "block")
    stride = -(-len(names) // most)
    places = list(range(0, len(names), stride))
    shown = [literal(names[place]) for place in places]
    if along == "x":
        ax.set_xticks(
            places, shown, rotation=90 if len(shown) > 12 else 45 if max(map(len, shown)) > 3 else 0
        )
        if len(shown) <= 12 and max(map(len, shown)) > 3:
            for label in ax.get_xticklabels():
                label.set(ha="right", va="center", rotation_mode="anchor")
    else:
        ax.set_yticks(places, shown)
    if boundary:
        for _, first, _ in kind_spans(array)[1:]:
            line = ax.axvline if along == "x" else ax.axhline
            line(first - 0.5, color=INK, linewidth=0.9, dashes=(4, 3), zorder=3, gid="kind boundary")


def kind_names(ax: Axes, array: xr.DataArray, *, most: int = 4) -> None:
    """Write the kinds of block above an axes whose x is the block."""
    spans = [span for span in kind_spans(array) if span[0]]
    if not 2 <= len(spans) <= most:
        return
    for word, first, last in spans:
        ax.text(
            (first + last) / 2,
            1.01,
            word,
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=MUTED,
        )


def colour_bar(
    axes: Axes | list[Axes], mappable: Any, label: str, *, extend: str = "neither", aspect: float = 30.0
) -> Colorbar:
    """A slim colour bar beside one axes or several, with plain numbers."""
    figure = (axes[0] if isinstance(axes, list) else axes).get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(mappable, ax=axes, extend=extend, fraction=0.035, aspect=aspect, pad=0.02)
    bar.outline.set(edgecolor=RULE, linewidth=0.8)
    bar.set_label(label, fontsize=8.5)
    norm = mappable.norm
    if isinstance(norm, LogNorm):
        log_axis(bar.ax.yaxis, float(norm.vmin or 1), float(norm.vmax or 1))
    return bar


def bare(ax: Axes) -> None:
    """No ticks and no frame: an axes that holds a picture."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def grid(ax: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Quiet grid lines behind the data."""
    ax.grid(True, axis=axis)
    ax.tick_params(which="both", length=0, axis=axis)


def mark_top(ax: Axes, places: list[float], names: list[str], colour: str = FAINT) -> None:
    """Name places of the x axis above the axes, as "▾ 37"; places too near each other share the row."""
    if not places:
        return
    top = ax.secondary_xaxis("top")
    top.xaxis.set_major_locator(FixedLocator(places))
    top.set_xticks(places, [literal(name) for name in names])
    top.tick_params(length=3, color=colour, labelcolor=colour, labelsize=7.5, pad=1)
    top.spines["top"].set_visible(False)
