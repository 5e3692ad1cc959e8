"""What edits did: one bar per edit and metric, with intervals, beside the energy each edit removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ditscope.plots.axes import grid
from ditscope.plots.labels import facts, labels, pretty, require_dims, require_variables, values
from ditscope.plots.sheet import sheet
from ditscope.plots.style import INK, MUTED, Look, looks, styled
from ditscope.plots.text import MINUS, literal, wrap

_ACROSS = 5
_ARROWS = {"higher": "higher is better →", "lower": "← lower is better"}


@styled
def ablation(
    summary: Any,
    *,
    controls: Collection[str] | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """Bars with intervals per edit, one panel per metric; controls in grey.

    Args:
        summary: a Dataset (or anything with one as ``.summary``) with variables ``mean``, ``low``,
            ``high``, each `[metric, edit]`. Optional: coords ``unit(metric)`` and
            ``direction(metric)`` ("higher" or "lower" is better); ``baseline(metric)``, where bars
            start instead of at 0; ``energy_removed(edit)``, a share from 0 to 1; ``label(metric)``.
        controls: edits drawn in grey; by default those after the first whose name speaks of one
            (see `ditscope.plots.style.looks`).
        title: another title.
        about: facts for the line below it.

    Raises:
        InputError: a variable or dim is missing.
    """
    summary = getattr(summary, "summary", summary)
    summary = summary() if callable(summary) else summary
    summary = require_variables(summary, ["mean", "low", "high"], "a summary of edits")
    mean, low, high = (
        require_dims(summary[name], ("metric", "edit"), f"{name!r} of a summary")
        for name in ("mean", "low", "high")
    )
    metrics, edits = labels(mean, "metric"), labels(mean, "edit")
    look = looks(edits, controls)
    energy = _along(summary, "energy_removed", "edit")
    panels = len(metrics) + (energy is not None)
    rows = -(-panels // _ACROSS)
    columns = -(-panels // rows)
    figure = sheet(
        1.72 * columns + 1.5,
        rows * (0.34 * len(edits) + 1.0),
        title=title or "Effect of each edit on the image",
        facts=facts(mean.assign_attrs(summary.attrs | mean.attrs), about),
        note=_note(look, summary),
    )
    grid_of_axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    axes = list(grid_of_axes.flat)
    colours = [look[edit].colour for edit in edits]
    if energy is not None:
        _energy(axes[0], energy, colours)
    for offset, name in enumerate(metrics, start=int(energy is not None)):
        index = offset - int(energy is not None)
        numbers = [values(array.isel(metric=index)) for array in (mean, low, high)]
        _panel(axes[offset], numbers, colours, _of(summary, "baseline", index))
        unit = _word(summary, "unit", index)
        words = _word(summary, "label", index) or pretty(name)
        axes[offset].set_title(literal(wrap(words, 1.5, 9.5, weight="bold")))
        arrow = _ARROWS.get(_word(summary, "direction", index), "")
        axes[offset].set_xlabel("\n".join(part for part in (unit or "value (no unit)", arrow) if part))
    for ax in axes[panels:]:
        ax.remove()
    for row in grid_of_axes:
        row[0].set_yticks(range(len(edits)), [literal(wrap(edit, 1.5, 8.5)) for edit in edits], fontsize=8.5)
        row[0].tick_params(axis="y", labelcolor=INK)
        row[0].set_ylim(len(edits) - 0.5, -0.5)
        row[0].set_ylabel("edit")
    return figure


def _panel(ax: Axes, numbers: list[np.ndarray], colours: list[str], baseline: float | None) -> None:
    """One metric: bars from the baseline (or 0), whiskers for intervals, the value written behind."""
    mean = numbers[0]
    known, low, high = (np.where(np.isfinite(part), part, np.nan) for part in numbers)
    start = 0.0 if baseline is None else baseline
    places = np.arange(len(mean))
    ax.barh(places, known - start, left=start, height=0.62, color=colours, zorder=2)
    ax.errorbar(
        known,
        places,
        xerr=np.nan_to_num(np.stack([known - low, high - known])).clip(0),
        fmt="none",
        ecolor=INK,
        elinewidth=1.1,
        capsize=2.5,
        capthick=1.1,
        zorder=3,
    )
    everything = np.concatenate([known, low, high, [start]])
    everything = everything[np.isfinite(everything)]
    least, most = (float(everything.min()), float(everything.max())) if everything.size else (0.0, 1.0)
    span = (most - least) or abs(most) or 1.0
    negative = least < start - 1e-12
    positive = most > start + 1e-12
    # Room for the written values on the side (or sides) where bars end.
    ax.set_xlim(
        least - (0.42 if negative else 0.0) * span, most + (0.42 if positive or not negative else 0.0) * span
    )
    for place, (value, lower, upper) in enumerate(zip(mean, low, high, strict=True)):
        if not np.isfinite(value):
            # PSNR of an image that did not change is infinite: said in words, as no bar can show it.
            words = "∞" if value == np.inf else "no value"
            ax.annotate(
                words,
                (start, place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=MUTED,
            )
            continue
        left = value < start
        end = np.nanmin([value, lower]) if left else np.nanmax([value, upper])
        ax.annotate(
            _value(value, span),
            (end, place),
            xytext=(-5 if left else 5, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=7.5,
            color=INK,
        )
    ax.axvline(start, color=INK if baseline is not None else MUTED, linewidth=1.0, zorder=4)
    ax.xaxis.set_major_locator(_few())
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    grid(ax, "x")


def _energy(ax: Axes, energy: np.ndarray, colours: list[str]) -> None:
    """The share of squared activation that each edit took away: what makes controls comparable."""
    places = np.arange(len(energy))
    percent = energy * 100
    ax.barh(places, percent, height=0.62, color="none", edgecolor=colours, linewidth=1.2, zorder=2)
    for place, value in enumerate(percent):
        text = f"{value:.3g}".replace("-", MINUS) if np.isfinite(value) else "not known"
        ax.annotate(
            text,
            (value if np.isfinite(value) else 0, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    ax.set_title("Energy removed")
    ax.set_xlabel("% of the squared\nactivation at the site")
    ax.set_xlim(0, max(float(np.nanmax(percent, initial=0.0)), 1e-9) * 1.42)
    ax.xaxis.set_major_locator(_few())
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    grid(ax, "x")


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, steps=[1, 2, 2.5, 5, 10])


def _value(value: float, span: float) -> str:
    """As many digits as the panel's range can tell apart."""
    digits = int(np.clip(2 - np.floor(np.log10(span)) if span > 0 else 2, 0, 4))
    return f"{value:,.{digits - 1 if digits > 1 else digits}f}".replace("-", MINUS)


def _note(look: Mapping[str, Look], summary: xr.Dataset) -> str:
    parts = ["Whiskers are paired bootstrap intervals."]
    if any(one.control for one in look.values()):
        parts.append("Grey bars are controls.")
    if "baseline" in summary:
        parts.append("Bars start at the value of the unedited images.")
    return " ".join(parts)


def _along(summary: xr.Dataset, name: str, dim: str) -> np.ndarray | None:
    if name not in summary and name not in summary.coords:
        return None
    return values(require_dims(summary[name].reset_coords(drop=True), (dim,), f"{name!r} of a summary"))


def _of(summary: xr.Dataset, name: str, index: int) -> float | None:
    numbers = _along(summary, name, "metric")
    return float(numbers[index]) if numbers is not None and np.isfinite(numbers[index]) else None


def _word(summary: xr.Dataset, name: str, index: int) -> str:
    """A metric's unit, direction or label, or nothing."""
    if name in summary.coords or name in summary:
        return str(summary[name].values[index])
    found = summary.attrs.get(name)
    if isinstance(found, Mapping):
        return str(found.get(str(summary["metric"].values[index]), ""))
    return ""
