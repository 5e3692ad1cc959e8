"""The sheet every figure is drawn on: title and headline above, the plot, a note below; and its PNG and SVG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ditscope.errors import InputError
from ditscope.plots._style import DARK, INK, MUTED, shrink, styled
from ditscope.plots._text import literal, wrap
from ditscope.plots._text import width as text_width

DPI = 150
"""Dots per inch of every PNG; at 100 % zoom a figure is ``DPI / 96`` times its size on paper."""

TITLE_SIZE, HEADLINE_SIZE, LEGEND_SIZE, NOTE_SIZE = 12.0, 8.5, 8.5, 7.5
_PANELS_TITLE = 10.5
_SMALLEST = 0.5  # of the letters' size: 4.5 points
_SLACK = 1.3  # lines of letters stand this much apart in every plot, where they do not beside each other
_LITTLE = 0.1  # inches of height
_CALLER = 4  # whoever called the plot: above it are its wrapper, itself and what draws its panels
_MARGIN = 0.14
_LEADING = 1.32 / 72.0
_LEAST = 1.0  # inches of height for a plot
_HANDLE = 2.4  # a legend handle's length, in units of the font size
_LEGEND: dict[str, Any] = {"fontsize": LEGEND_SIZE, "columnspacing": 1.6, "handlelength": _HANDLE}


class Sheet(Figure):
    """A matplotlib figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return png(self), {
            "width": round(self.get_figwidth() * 96),
            "height": round(self.get_figheight() * 96),
        }


class _Layout(ConstrainedLayoutEngine):
    """A layout that depends on the figure alone: drawn again, it starts from the same positions."""

    def execute(self, fig: Figure) -> None:
        """Lay the figure out."""
        first = self.__dict__.setdefault("_first", {})
        for ax in fig.axes:
            ax._set_position(first.setdefault(ax, ax.get_position(original=True).frozen()))  # type: ignore[attr-defined]
        super().execute(fig)


class Place(TypedDict, total=False):
    """Where a figure of one's own has room for a plot; every plot takes these as keywords.

    Attributes:
        figure: a figure without axes, or a subfigure: the plot with all its words, at the size that this has.
        ax: an axes: the plot with its title and legend alone. One panel is drawn in the axes itself; several take its
            place in the grid that it is from, and it is removed.
    """

    figure: Figure | SubFigure | None
    ax: Axes | None


def sheet(
    width: float,
    height: float,
    *,
    title: str,
    headline: str = "",
    note: str = "",
    legend: Sequence[Artist] = (),
    figure: Figure | SubFigure | None = None,
    ax: Axes | None = None,
) -> tuple[Figure, Any]:
    """A figure whose body is ``width`` by ``height`` inches, with room added for the words around it; and the body,
    which has ``subplots``: a figure, a subfigure or the place of an axes.

    Args:
        width: inches.
        height: inches of the plot itself.
        title: what is shown.
        headline: of what: model, stream, site, statistic, number of samples.
        note: how to read it, below the plot.
        legend: labelled handles, laid out between the headline and the plot, where they cover no data.
        figure: to draw in, in place of a new one; see :class:`Place`.
        ax: likewise.

    Raises:
        InputError: both are given, the figure has axes or no room for the words, or ``ax`` is none.
    """
    if figure is not None and ax is not None:
        raise InputError("figure= and ax=", "one of them", "Leave one out.")
    if ax is not None:
        if not isinstance(ax, Axes):
            raise InputError(f"ax={type(ax).__name__}", "an Axes of matplotlib", "Pass one of them.")
        return _root(ax), _InAxes(ax, (width, height), title, legend)
    if figure is None:
        words = _Words.of(width, title, headline, note, legend)
        total = words.above + height + words.below
        made = Sheet(figsize=(width, total))
        rect = (0.0, words.below / total, 1.0, height / total)
        made.set_layout_engine(_Layout(rect=rect, w_pad=0.08, h_pad=0.06, wspace=0.02, hspace=0.02))
        words.write(made, width, total)
        return made, made
    if not isinstance(figure, Figure | SubFigure) or figure.axes or figure.subfigs:
        found = "with axes in it" if isinstance(figure, Figure | SubFigure) else type(figure).__name__
        raise InputError(f"figure={found}", "a figure or subfigure without axes", "Pass ax= for an axes.")
    root = _root(figure)
    width, total = (side / root.dpi for side in (figure.bbox.width, figure.bbox.height))
    words = _Words.of(width, title, headline, note, legend)
    room = total - words.above - words.below
    if room < _LEAST:
        raise InputError(
            f"a figure of {width:.1f} x {total:.1f} inches",
            f"{words.above + words.below + _LEAST:.1f} inches of height, for the words and a plot",
            "Make it larger, or pass ax=, for a plot with its title alone.",
        )
    if root.get_layout_engine() is None:
        root.set_layout_engine("constrained")
    words.write(figure, width, total)
    rows = figure.add_gridspec(3, 1, height_ratios=(words.above, room, words.below))
    return root, figure.add_subfigure(rows[1])


def _root(part: Any) -> Figure:
    root = part.get_figure(root=True)
    assert isinstance(root, Figure)
    return root


class _InAxes:
    """The place of an axes in somebody's figure."""

    def __init__(self, ax: Axes, size: tuple[float, float], title: str, legend: Sequence[Artist]) -> None:
        self.ax, self.size, self.title, self.legend = ax, size, title, list(legend)

    def subplots(self, nrows: int = 1, ncols: int = 1, **options: Any) -> Any:
        """The axes itself for one panel; panels in its place for several, with smaller letters where it is small.

        Warns:
            UserWarning: it is so small that they cannot be read.
        """
        if nrows == ncols == 1:
            self.ax.set_title(literal(self.title), pad=18)
            if self.legend:
                self.ax.legend(handles=self.legend)
            return self.ax if options.get("squeeze", True) else np.array([[self.ax]], dtype=object)
        spec, owner = self.ax.get_subplotspec(), self.ax.get_figure(root=False)
        if spec is None or owner is None:
            raise InputError(
                f"an axes for {nrows} x {ncols} panels that is in no grid", "one of subplots()", "Pass that."
            )
        self.ax.remove()
        place = owner.add_subfigure(spec)
        if (root := _root(place)).get_layout_engine() is None:
            root.set_layout_engine("constrained")
        width, height = (side / root.dpi for side in (place.bbox.width, place.bbox.height))
        words = _Words.of(width, self.title, "", "", self.legend, _PANELS_TITLE)
        room = max(_LITTLE, height - words.above)
        factor = min(1.0, width / self.size[0], _SLACK * room / self.size[1])
        if factor < _SMALLEST:
            least = (_SMALLEST * self.size[0], _SMALLEST * self.size[1] / _SLACK + words.above)
            warnings.warn(
                f"{nrows} x {ncols} panels in {width:.1f} x {height:.1f} inches cannot be read: they need "
                f"{least[0]:.1f} x {least[1]:.1f}.",
                stacklevel=_CALLER,
            )
        words.write(place, width, height)
        shrink(max(factor, _SMALLEST))
        rows = place.add_gridspec(2, 1, height_ratios=(words.above, room))
        return place.add_subfigure(rows[1]).subplots(nrows, ncols, **options)


class _Words(NamedTuple):
    """The words around a plot, broken into lines, and the inches that they take."""

    title: str
    headline: str
    note: str
    legend: Sequence[Artist]
    columns: int
    size: float
    heading: float
    above: float
    below: float

    @classmethod
    def of(
        cls,
        width: float,
        title: str,
        headline: str,
        note: str,
        legend: Sequence[Artist],
        size: float = TITLE_SIZE,
    ) -> _Words:
        """The words for a sheet of a width, with a title of so many points."""
        room = width - 2 * _MARGIN
        title = wrap(title, room, size, weight="bold")
        headline = wrap(headline, room, HEADLINE_SIZE) if headline else ""
        note = wrap(note, room, NOTE_SIZE) if note else ""
        heading = _MARGIN + _height(title, size)
        heading += _height(headline, HEADLINE_SIZE) + 0.03 if headline else 0.0
        columns = _columns([str(handle.get_label()) for handle in legend], room)
        legend_height = (-(-len(legend) // columns) * 0.185 + 0.09) if legend else 0.0
        above = heading + legend_height + 0.08
        below = _height(note, NOTE_SIZE) + _MARGIN + 0.03 if note else 0.04
        return cls(title, headline, note, legend, columns, size, heading, above, below)

    def write(self, figure: Figure | SubFigure, width: float, total: float) -> None:
        """Write them on a sheet of this size in inches."""
        left = _MARGIN / width
        heading = figure.suptitle(
            literal(self.title),
            x=left,
            y=1 - _MARGIN / total,
            ha="left",
            va="top",
            fontsize=self.size,
            fontweight="bold",
            color=INK,
            linespacing=1.15,
        )
        heading.set_in_layout(False)
        if self.headline:
            top = 1 - (_MARGIN + _height(self.title, self.size) + 0.03) / total
            _write(figure, left, top, self.headline, "top", HEADLINE_SIZE)
        if self.legend:
            drawn = figure.legend(
                handles=list(self.legend),
                loc="upper left",
                ncols=self.columns,
                borderpad=0,
                borderaxespad=0,
                **_LEGEND,
                bbox_to_anchor=(left, 1 - (self.heading + 0.09) / total),
            )
            drawn.set_in_layout(False)
        if self.note:
            _write(figure, left, 0.1 / total, self.note, "bottom", NOTE_SIZE)


@styled
def png(figure: Figure) -> bytes:
    """The figure as PNG at ``DPI``, with no date, version or path in it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A glyph that no installed font has is drawn as a box, which says so itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@styled
def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes for the same figure; its greys are dark or light as the reader's theme is."""
    buffer = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "ditscope"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    light, dark = (
        ";".join(f"--n{row}:{pair[kind]}" for row, pair in enumerate(DARK.items())) for kind in (0, 1)
    )
    for row, colour in enumerate(DARK):
        drawn = re.sub(f": {colour}(?![0-9a-f])", f": var(--n{row})", drawn)
    # matplotlib leaves out black, which is SVG's own.
    style = f"svg{{{light};fill:var(--n0)}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    return re.sub("(<style[^>]*>)", rf"\g<1>{style}", drawn, count=1).encode()


def _height(text: str, size: float) -> float:
    return (text.count("\n") + 1) * size * _LEADING if text else 0.0


def _columns(labels: Sequence[str], room: float) -> int:
    """As many legend entries side by side as fit."""
    widths = [text_width(label, LEGEND_SIZE) + (_HANDLE + 0.8 + 1.6) * LEGEND_SIZE / 72.0 for label in labels]
    for columns in range(len(labels), 1, -1):
        # matplotlib fills a legend column by column, the first ones with one entry more.
        if sum(map(max, np.array_split(widths, columns))) <= room:
            return columns
    return 1


def _write(figure: Figure | SubFigure, x: float, y: float, text: str, va: str, size: float) -> None:
    words = figure.text(x, y, literal(text), ha="left", va=va, fontsize=size, color=MUTED, linespacing=1.3)
    words.set_in_layout(False)
