"""What every figure must satisfy, whatever it shows."""

from __future__ import annotations

import io
from typing import TypeVar

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def drawn(figure: Figure) -> Figure:
    """Lay the figure out, as saving it would; its pixels are not made."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    return figure


def words(figure: Figure) -> str:
    """All visible text of a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def mesh_of(figure: Figure) -> np.ndarray:
    """The values of a figure's heatmap."""
    return next(c for ax in figure.axes for c in ax.collections if isinstance(c, QuadMesh)).get_array()


def lines_of(ax) -> dict[str, np.ndarray]:
    """The heights of an axes' named lines."""
    return {line.get_gid(): np.asarray(line.get_ydata()) for line in ax.lines if line.get_gid()}


def bars_of(ax) -> np.ndarray:
    """Start and end of an axes' bars."""
    container = next(c for c in ax.containers if isinstance(c, BarContainer))
    return np.array([[bar.get_x(), bar.get_x() + bar.get_width()] for bar in container])


def shuffled(labelled: Labelled, *dims: str, seed: int = 0) -> Labelled:
    """The same with its dims in another order, and labels in another order along ``dims``."""
    random = np.random.default_rng(seed)
    labelled = labelled.isel({dim: random.permutation(labelled.sizes[dim]) for dim in dims})
    return labelled.transpose(*list(labelled.dims)[::-1])


def same_picture(one: Figure, other: Figure) -> bool:
    """Whether two figures are equal to the last byte (small, as their words need not be read)."""
    return _small(one) == _small(other)


def _small(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return buffer.getvalue()


def check_readable(figure: Figure, *, labelled: bool = True) -> None:
    """A title, labelled axes, full legends, and no word cut off or under the headline."""
    drawn(figure)
    assert figure.get_suptitle().strip(), "no title"
    for ax in figure.axes:
        if (
            labelled
            and ax.axison
            and (ax.lines or ax.collections or ax.patches)
            and ax.get_label() != "<colorbar>"
        ):
            inner = ax.get_subplotspec()
            first = inner is None or (inner.is_first_col() and inner.is_last_row())
            if first:
                assert ax.get_xlabel(), "an axes without an x label"
                assert ax.get_ylabel(), "an axes without a y label"
        elif ax.get_label() == "<colorbar>":
            assert ax.get_ylabel(), "a colour bar without a label"
    for legend in [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]:
        names = [text.get_text() for text in legend.get_texts()]
        assert names, "a legend without entries"
        assert all(name and not name.startswith("_") for name in names), "an empty legend entry"
        assert len(set(names)) == len(names), "a legend that repeats itself"
    check_inside(figure)
    check_headline_clear(figure)


def check_inside(figure: Figure) -> None:
    """No word reaches beyond the figure."""
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in _boxes(figure):
        inside = box.x0 > -1.5 and box.y0 > -1.5 and box.x1 < width + 1.5 and box.y1 < height + 1.5
        assert inside, f"cut off at the edge: {text.get_text()!r}"


def check_apart(figure: Figure) -> None:
    """No word covers another."""
    boxes = _boxes(figure)
    for index, (text, box) in enumerate(boxes):
        for other, there in boxes[index + 1 :]:
            assert not _covers(box, there), f"{text.get_text()!r} covers {other.get_text()!r}"


def _boxes(figure: Figure):
    """Every text that is seen, and where it stands."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    hidden = {id(text) for ax in figure.axes for axis in _axes_of(ax) for text in _unshown(axis, ax.name)}
    return [
        (text, text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and id(text) not in hidden
    ]


def check_headline_clear(figure: Figure) -> None:
    """The words above, the legend and the note do not cover each other or the plot."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    headline = figure._suptitle  # type: ignore[attr-defined]
    boxes = [headline.get_window_extent(renderer)]
    boxes += [text.get_window_extent(renderer) for text in figure.texts if text is not headline]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    for index, box in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert not box.overlaps(other), "words of the headline cover each other"
    for ax in figure.axes:
        if ax.name != "3d":
            tight = ax.get_tightbbox(renderer)
            assert tight is not None
            assert not any(_covers(box, tight) for box in boxes), "the plot reaches into the words around it"


def _covers(box, other) -> bool:
    return (
        min(box.x1, other.x1) - max(box.x0, other.x0) > 2
        and min(box.y1, other.y1) - max(box.y0, other.y0) > 2
    )


def _axes_of(ax):
    return [axis for axis in (ax.xaxis, ax.yaxis, getattr(ax, "zaxis", None)) if axis is not None]


def _unshown(axis, projection: str):
    """Labels of ticks outside the view, which exist but are not drawn; in 3-D, of all ticks."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    shown = {id(tick) for tick in axis._update_ticks()}
    for tick in ticks:
        outside = not low - 1e-9 <= tick.get_loc() <= high + 1e-9
        if projection == "3d" or outside or id(tick) not in shown:
            yield tick.label1
            yield tick.label2
