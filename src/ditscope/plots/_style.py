"""The one look of all figures: settings, colours, and the context that applies them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.colors import Colormap, LinearSegmentedColormap

INK = "#1c2130"
MUTED = "#667085"
FAINT = "#98a1b0"
RULE = "#d9dde3"
GRID = "#eceef2"
PAPER = "#ffffff"
MISSING = "#c9ced8"

ACCENT = "#d55e00"
"""The one colour of what a figure is about: massive channels, the first edit, the mask."""

DISTINCT = (ACCENT, "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, which stay apart under the common colour blindnesses."""

CONTROL = ("#414959", "#7d8696", "#a9b0bc", "#5d6676", "#939baa", "#c2c7d0")
"""Greys for controls; their lines also differ by dash and marker."""

DASHES: tuple[Any, ...] = (
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (5, 1.5, 1.5, 1.5)),
    (0, (3, 1)),
    "-",
    (0, (8, 2)),
)
MARKERS = ("o", "s", "D", "^", "v", "P")

SUPPORTS, REFUTES = "#d9efe4", "#f8dfd0"
"""Backgrounds of what speaks for and against."""

DATA_INK, DATA_PAPER, DATA_GREY = "#1d2231", "#fefefe", "#7a8394"
"""Ink, paper and grey of what is drawn over data, whose colours are the same on a light and on a dark page."""

DARK = {
    "#000000": "#e6e8ed",
    INK: "#e6e8ed",
    MUTED: "#a3acbb",
    FAINT: "#7d8797",
    RULE: "#3d4553",
    GRID: "#262c36",
    PAPER: "#14171d",
    **dict(zip(CONTROL, ("#c2c7d0", "#8b94a5", "#5d6679", "#a9b0bd", "#747d8e", "#68707f"), strict=True)),
    SUPPORTS: "#1b4032",
    REFUTES: "#4a2c1b",
}
"""What each grey and each background is on a dark page; all other colours can be seen on both."""

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.facecolor": PAPER,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelpad": 5.0,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.dpi": 100.0,
    "figure.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "hatch.color": MUTED,
    "hatch.linewidth": 0.6,
    "image.cmap": "viridis",
    "legend.borderaxespad": 0.4,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "savefig.facecolor": PAPER,
    "text.color": INK,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "xtick.minor.size": 1.5,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 8.0,
    "ytick.major.size": 3.0,
    "ytick.minor.size": 1.5,
}

MAGNITUDE: Colormap = LinearSegmentedColormap.from_list(
    "ditscope_magnitude",
    ["#fbfaf7", "#fbe3c0", "#f7b982", "#ec8453", "#cf4c4a", "#98285c", "#561a5b", "#1f1140"],
).with_extremes(bad=MISSING)
"""Paper white to deep violet, with lightness falling evenly: dark means large."""

DEPTH: Colormap = LinearSegmentedColormap.from_list(
    "ditscope_depth", ["#6cc3b4", "#3aa0ad", "#3a7fb8", "#5d63b8", "#8a4fa8"]
)
"""Green over blue to violet with a block's depth, none so light or so dark that a page hides it."""

AGREEMENT: Colormap = LinearSegmentedColormap.from_list(
    "ditscope_agreement", ["#fbfaf7", "#d7ebe3", "#93cdc3", "#4a9fa8", "#2b6f8f", "#23426d", "#1a1d44"]
).with_extremes(bad=MISSING)
"""White for 0 to deep blue for 1."""

CHANGE: Colormap = LinearSegmentedColormap.from_list(
    "ditscope_change", ["#1f4e8c", "#4f8fc0", "#a9cfe3", "#fbfaf7", "#f7c59f", "#dd7a4b", "#a23b1d"]
).with_extremes(bad=MISSING)
"""Blue below 0, white at 0, red above."""

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run ``draw`` under matplotlib's defaults and this look; the caller's settings come back after."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        from ditscope.plots._text import font_families

        with matplotlib.style.context(["default", STYLE | {"font.family": font_families()}]):
            return draw(*args, **kwargs)

    return wrapper


def shrink(factor: float) -> None:
    """Make letters, ticks, lines and the room around them smaller, until :func:`styled` is left."""
    sizes: dict[Any, float] = {n: v * factor for n, v in STYLE.items() if re.search("(size|pad|width)$", n)}
    matplotlib.rcParams.update(sizes)


def points(size: float) -> float:
    """A size of letters beside those of :data:`STYLE`, smaller where all are."""
    return float(size * matplotlib.rcParams["font.size"] / STYLE["font.size"])


@dataclass(frozen=True)
class Look:
    """How one named selector or edit is drawn."""

    colour: str
    dash: Any
    marker: str
    control: bool


def looks(controls: Iterable[bool]) -> list[Look]:
    """How each selector or edit is drawn: colours for what is tested, greys for its controls.

    Args:
        controls: whether each is a control, in the order in which they are drawn.
    """
    result: list[Look] = []
    tested = matched = 0
    for index, control in enumerate(controls):
        marker = MARKERS[index % len(MARKERS)]
        if control:
            result.append(Look(CONTROL[matched % len(CONTROL)], DASHES[matched % len(DASHES)], marker, True))
            matched += 1
        else:
            result.append(Look(DISTINCT[tested % len(DISTINCT)], "-", marker, False))
            tested += 1
    return result
