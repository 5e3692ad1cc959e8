"""What edits did: one bar per edit and metric, with intervals, beside the energy each edit removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ditscope.plots._axes import beside, grid
from ditscope.plots._labels import flags, headline, labels, pretty, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import INK, MUTED, looks, points, styled
from ditscope.plots._text import MINUS, literal, wrap

__all__ = ["ablation"]

_ACROSS = 5
_ARROWS = {"higher": "higher is better →", "lower": "← lower is better"}
_SOURCE = "what compare returns"


@styled
def ablation(
    comparison: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.experiments.compare` returns: the effect of each edit, one panel per metric.

    The first panel is the energy that each edit removed, which makes edits and controls comparable. Edits that
    the bool coord ``control(edit)`` names as controls are grey.

    Args:
        comparison: ``mean``, ``low`` and ``high``, each `[metric, edit]`. Optional: ``energy_removed(edit)``, a
            share up to 1, negative where an edit added energy; coords ``unit(metric)``, ``label(metric)``, and
            ``direction(metric)`` ("higher" or "lower" is better).
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing.
    """
    comparison = require_variables(comparison, ["mean", "low", "high"], _SOURCE)
    mean, low, high = (
        require_dims(comparison[name], ("metric", "edit"), f"{name!r}: {_SOURCE},")
        for name in ("mean", "low", "high")
    )
    metrics, edits, controls = labels(mean, "metric"), labels(mean, "edit"), flags(mean, "edit")
    colours = [look.colour for look in looks(controls)]
    energy = None
    if "energy_removed" in comparison:
        energy = 100 * values(require_dims(comparison["energy_removed"], ("edit",), "energy_removed"))
    notes = ["Whiskers are paired bootstrap intervals."]
    if any(controls):
        notes.append("Grey bars are controls.")
    if energy is not None and (energy < 0).any():
        notes.append("Energy below 0 was added by the edit.")
    panels = len(metrics) + (energy is not None)
    rows = -(-panels // _ACROSS)
    columns = -(-panels // rows)
    figure, body = sheet(
        1.72 * columns + 1.5,
        rows * (0.34 * len(edits) + 1.0),
        title=title or "Effect of each edit on the image",
        headline=headline(mean.assign_attrs(comparison.attrs | mean.attrs), about),
        note=" ".join(notes),
        **place,
    )
    axes = body.subplots(rows, columns, sharey=True, squeeze=False)
    free = iter(axes.flat)
    if energy is not None:
        ax = next(free)
        _bars(ax, energy, colours, lambda value, _: f"{value:.{3 if abs(value) >= 10 else 2}g}")
        ax.set_title("Energy removed")
        ax.set_xlabel("% of the squared\nactivation at the site")
    for index, name in enumerate(metrics):
        ax = next(free)
        interval = values(low.isel(metric=index)), values(high.isel(metric=index))
        _bars(ax, values(mean.isel(metric=index)), colours, _digits, interval)
        words = _word(mean, "label", index) or pretty(name)
        ax.set_title(literal(wrap(words, 1.5, 9.5, weight="bold")))
        arrow = _ARROWS.get(_word(mean, "direction", index), "")
        unit = _word(mean, "unit", index) or "value (no unit)"
        ax.set_xlabel("\n".join(part for part in (unit, arrow) if part))
    for ax in free:
        ax.remove()
    for row in axes:
        row[0].set_yticks(
            range(len(edits)), [literal(wrap(edit, 1.5, 8.5)) for edit in edits], fontsize=points(8.5)
        )
        row[0].tick_params(axis="y", labelcolor=INK)
        row[0].set_ylim(len(edits) - 0.5, -0.5)
        row[0].set_ylabel("edit")
    return figure


def _bars(
    ax: Axes,
    mean: np.ndarray,
    colours: list[str],
    written: Callable[[float, float], str],
    interval: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """One panel: bars from 0, the value behind each; hollow where there is no interval, else with whiskers."""
    known, low, high = (
        np.where(np.isfinite(part), part, np.nan) for part in (mean, *(interval or (mean, mean)))
    )
    rows = np.arange(len(mean))
    if interval is None:
        ax.barh(rows, known, height=0.62, color="none", edgecolor=colours, linewidth=1.2, zorder=2)
    else:
        ax.barh(rows, known, height=0.62, color=colours, zorder=2)
        reach = np.nan_to_num(np.stack([known - low, high - known])).clip(0)
        whiskers: dict[str, Any] = {"ecolor": INK, "elinewidth": 1.1, "capsize": 2.5, "capthick": 1.1}
        ax.errorbar(known, rows, xerr=reach, fmt="none", zorder=3, **whiskers)
    ends = np.concatenate([known, low, high, [0.0]])
    least, most = float(np.nanmin(ends)), float(np.nanmax(ends))
    span = (most - least) or 1.0
    # Room for the written values on the side (or sides) where bars end.
    room = span * (0.7 if least < 0 < most else 0.42)
    ax.set_xlim(least - room * (least < 0), most + room * (most > 0 or least == 0))
    for row, (value, lower, upper) in enumerate(zip(mean, low, high, strict=True)):
        if not np.isfinite(value):
            # PSNR of an image that did not change is infinite: said in words, as no bar can show it.
            beside(ax, "∞" if value == np.inf else "no value", (0.0, row), (5, 0), MUTED)
        else:
            text = written(value, span).replace("-", MINUS)
            end = np.nanmin([value, lower]) if value < 0 else np.nanmax([value, upper])
            beside(ax, text, (end, row), (-5 if value < 0 else 5, 0))
    ax.axvline(0.0, color=MUTED, linewidth=1.0, zorder=4)
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    grid(ax, "x")


def _digits(value: float, span: float) -> str:
    """As many digits as the panel's range can tell apart."""
    digits = int(np.clip(2 - np.floor(np.log10(span)), 0, 4))
    return f"{value:z,.{digits - 1 if digits > 1 else digits}f}"


def _word(mean: xr.DataArray, name: str, index: int) -> str:
    """A metric's unit, direction or label, or nothing."""
    return str(mean.coords[name].values[index]) if name in mean.coords else ""
