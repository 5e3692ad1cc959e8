"""The sheet every figure is drawn on: title and headline above, the plot, a note below; and its PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ditscope.plots._style import FAINT, INK, MUTED, styled
from ditscope.plots._text import literal, wrap
from ditscope.plots._text import width as text_width

DPI = 150
"""Dots per inch of every PNG; at 100 % zoom a figure is ``DPI / 96`` times its size on paper."""

TITLE_SIZE, HEADLINE_SIZE, LEGEND_SIZE, NOTE_SIZE = 12.0, 8.5, 8.5, 7.5
_MARGIN = 0.14
_LEADING = 1.32 / 72.0
_HANDLE = 2.4  # a legend handle's length, in units of the font size


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


def sheet(
    width: float,
    height: float,
    *,
    title: str,
    headline: str = "",
    note: str = "",
    legend: Sequence[Artist] = (),
) -> Sheet:
    """A figure whose body is ``width`` by ``height`` inches, with room added for the words around it.

    Args:
        width: inches.
        height: inches of the plot itself.
        title: what is shown.
        headline: of what: model, stream, site, statistic, number of samples.
        note: how to read it, below the plot.
        legend: labelled handles, laid out between the headline and the plot, where they cover no data.
    """
    room = width - 2 * _MARGIN
    title = wrap(title, room, TITLE_SIZE, weight="bold")
    headline = wrap(headline, room, HEADLINE_SIZE) if headline else ""
    note = wrap(note, room, NOTE_SIZE) if note else ""
    title_height = _height(title, TITLE_SIZE)
    heading_height = _MARGIN + title_height + (_height(headline, HEADLINE_SIZE) + 0.03 if headline else 0.0)
    columns = _columns([str(handle.get_label()) for handle in legend], room)
    legend_height = (-(-len(legend) // columns) * 0.185 + 0.09) if legend else 0.0
    above = heading_height + legend_height + 0.08
    below = _height(note, NOTE_SIZE) + _MARGIN + 0.03 if note else 0.04
    total = above + height + below
    figure = Sheet(figsize=(width, total))
    figure.set_layout_engine(
        _Layout(
            rect=(0.0, below / total, 1.0, height / total), w_pad=0.08, h_pad=0.06, wspace=0.02, hspace=0.02
        )
    )
    left = _MARGIN / width
    heading = figure.suptitle(
        literal(title),
        x=left,
        y=1 - _MARGIN / total,
        ha="left",
        va="top",
        fontsize=TITLE_SIZE,
        fontweight="bold",
        color=INK,
        linespacing=1.15,
    )
    heading.set_in_layout(False)
    if headline:
        top = 1 - (_MARGIN + title_height + 0.03) / total
        _words(figure, left, top, headline, "top", HEADLINE_SIZE, MUTED)
    if legend:
        drawn = figure.legend(
            handles=list(legend),
            loc="upper left",
            ncols=columns,
            fontsize=LEGEND_SIZE,
            borderpad=0,
            borderaxespad=0,
            bbox_to_anchor=(left, 1 - (heading_height + 0.09) / total),
            columnspacing=1.6,
            handlelength=_HANDLE,
        )
        drawn.set_in_layout(False)
    if note:
        _words(figure, left, 0.1 / total, note, "bottom", NOTE_SIZE, MUTED)
    return figure


@styled
def png(figure: Figure) -> bytes:
    """The figure as PNG at ``DPI``, with no date, version or path in it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A glyph that no installed font has is drawn as a box, which says so itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


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


def _words(figure: Figure, x: float, y: float, text: str, va: str, size: float, colour: str = FAINT) -> None:
    words = figure.text(x, y, literal(text), ha="left", va=va, fontsize=size, color=colour, linespacing=1.3)
    words.set_in_layout(False)
