"""Curves with their doubt: mask agreement by block, and how many samples a ranking needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.errors import InputError
from ditscope.plots.axes import block_ticks, grid, kind_names
from ditscope.plots.labels import facts, labels, pretty, require_dims, require_variables, sentence, values
from ditscope.plots.sheet import sheet
from ditscope.plots.style import ACCENT, DEPTH, INK, MUTED, Look, looks, styled
from ditscope.plots.text import literal


@styled
def iou_by_block(
    scores: xr.Dataset,
    *,
    value: str = "iou",
    controls: Collection[str] | None = None,
    chance: float | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """Mask agreement with the reference by block, one line per selector with its interval as a band.

    Args:
        scores: variables ``<value>``, ``<value>_low``, ``<value>_high``, each `[selector, block]`, or
            `[polarity, selector, block]` for one panel per polarity rule ("signed", "oracle").
        value: name of the variable.
        controls: selectors drawn in grey; see `ditscope.plots.style.looks`.
        chance: a level to compare with, such as the IoU of "everything is foreground".
        title: another title.
        about: facts for the line below it.

    Raises:
        InputError: a variable or dim is missing.
    """
    scores = require_variables(
        scores, [value, f"{value}_low", f"{value}_high"], "scores by selector and block"
    )
    split = "polarity" if "polarity" in scores[value].dims else None
    dims = (split, "selector", "block") if split else ("selector", "block")
    middle, low, high = (
        require_dims(scores[name], dims, f"{name!r}") for name in (value, f"{value}_low", f"{value}_high")
    )
    selectors = labels(middle, "selector")
    look = looks(selectors, controls)
    handles = [_handle(look[selector], selector) for selector in selectors]
    polarities = labels(middle, "polarity") if split else [""]
    level = "" if chance is None else f"  Dotted: {chance:.2f}, the whole image taken as foreground."
    figure = sheet(
        max(5.0 * len(polarities), 6.6),
        3.9,
        title=title or f"{sentence(pretty(value))} of the masks with the reference, by block",
        facts=facts(middle.assign_attrs(scores.attrs | middle.attrs), about),
        note="Bands are intervals over samples. Grey lines are controls." + level,
        legend=handles,
    )
    panels = figure.subplots(1, len(polarities), sharey=True, squeeze=False)[0]
    for panel, (ax, polarity) in enumerate(zip(panels, polarities, strict=True)):
        choose = {"polarity": panel} if split else {}
        for index, selector in reversed(list(enumerate(selectors))):
            lines = [values(array.isel({"selector": index, **choose})) for array in (middle, low, high)]
            _band(ax, lines, look[selector], selector)
        if chance is not None:
            ax.axhline(chance, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        ax.set(xlabel="block, in execution order", ylim=(0, 1), xlim=(-0.4, middle.sizes["block"] - 0.6))
        grid(ax)
        block_ticks(ax, middle, along="x", most=30)
        kind_names(ax, middle)
        if polarity:
            ax.set_title(
                literal({"signed": "Signed rule", "oracle": "Oracle polarity"}.get(polarity, polarity)),
                pad=18,
            )
    panels[0].set_ylabel(f"{pretty(value)} (0 to 1)")
    return figure


@styled
def stability_curve(
    running: xr.DataArray,
    *,
    threshold: float | None = None,
    stop: int | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """Agreement of the running top-k set with the one before it, against the samples seen.

    Args:
        running: `[samples]` or `[samples, block]`; the coord ``samples`` counts the samples seen.
            Attrs ``threshold`` and ``stop`` are the defaults of the arguments.
        threshold: agreement at which the set counts as settled.
        stop: number of samples at which it is reached; None when it never was.
        title: another title.
        about: facts for the line below it.

    Raises:
        InputError: other dims, or no coord ``samples``.
    """
    by_block = isinstance(running, xr.DataArray) and "block" in running.dims
    running = require_dims(running, ("block", "samples") if by_block else ("samples",), "running agreement")
    if "samples" not in running.coords:
        raise InputError("no coord 'samples'", "the samples seen at each point", "Add the coord.")
    threshold = running.attrs.get("threshold") if threshold is None else threshold
    stop = running.attrs.get("stop") if stop is None else stop
    seen = np.asarray(running["samples"].values, dtype=float)
    lines = np.atleast_2d(values(running))

    mean_line: dict[str, Any] = {
        "color": INK,
        "linewidth": 2.2,
        "label": "mean over blocks" if by_block else "all blocks",
    }
    least_line: dict[str, Any] = {
        "color": INK,
        "linewidth": 1.3,
        "linestyle": (0, (3, 1.5)),
        "label": "least stable block",
    }
    each_line = {"color": DEPTH(0.5), "linewidth": 0.9, "label": "each block (darker = deeper)"}
    styles = [mean_line, least_line, each_line] if by_block else [mean_line]
    figure = sheet(
        7.0,
        3.6,
        title=title or "How many samples until the top channels settle",
        facts=facts(running, about),
        legend=[Line2D([], [], **style) for style in styles],
    )
    ax = figure.subplots()
    if by_block:
        for index, (line, name) in enumerate(zip(lines, labels(running, "block"), strict=True)):
            shade = DEPTH(index / max(len(lines) - 1, 1))
            ax.plot(seen, line, color=shade, linewidth=0.9, alpha=0.75, label=f"_{name}", gid=name)
        ax.plot(seen, lines.min(axis=0), **least_line)
    ax.plot(seen, lines.mean(axis=0), **mean_line)
    if threshold is not None:
        ax.axhline(threshold, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        ax.annotate(
            f"settled at {threshold:g}",
            (1, threshold),
            xycoords=ax.get_yaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=MUTED,
        )
    if stop is not None:
        ax.axvline(stop, color=ACCENT, linewidth=1.4)
        late = stop > seen.min() + 0.7 * (seen.max() - seen.min())
        ax.annotate(
            f"stop: {stop:g} samples",
            (stop, 0.03),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="bottom",
            color=ACCENT,
            fontsize=8.5,
            fontweight="bold",
        )
    low = float(np.nanmin(lines)) if np.isfinite(lines).any() else 0.0
    ax.set(
        xlabel="samples seen",
        ylabel="Jaccard index with the set before (0 to 1)",
        ylim=(max(0.0, np.floor(low * 10) / 10 - 0.1), 1.02),
    )
    grid(ax)
    return figure


def _band(ax: Axes, lines: list[np.ndarray], look: Look, name: str) -> None:
    """One selector's line over its interval; what is tested lies above its controls."""
    middle, low, high = lines
    places = np.arange(len(middle))
    above = 0 if look.control else 2
    ax.fill_between(
        places,
        low,
        high,
        color=look.colour,
        alpha=0.16 if look.control else 0.2,
        linewidth=0,
        zorder=1 + above,
    )
    ax.plot(
        places,
        middle,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        zorder=2 + above,
        linewidth=1.3 if look.control else 2.0,
        markersize=3.6 if look.control else 4.4,
        label=name,
        gid=name,
    )


def _handle(look: Look, name: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        label=literal(name),
        linewidth=1.3 if look.control else 2.0,
        markersize=3.6 if look.control else 4.4,
    )
