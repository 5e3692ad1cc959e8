"""What a rule decided: each quantity's interval over the ranges that support and refute the claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ditscope.plots._labels import headline, require_dims, require_variables
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import DISTINCT, INK, MARKERS, MUTED, REFUTES, SUPPORTS, points, styled
from ditscope.plots._text import literal, wrap

__all__ = ["verdicts"]

_SOURCE = "what decided_quantities returns"


@styled
def verdicts(
    decided: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws the quantities of one result of a claim, or of several beside each other.

    Args:
        decided: ``mean``, ``low`` and ``high``, each `[result, quantity]`; ``supports`` `[quantity, end]` and
            ``refutes`` `[quantity, range, end]`, infinite where there is no end and NaN where there is no range; coords
            ``words(quantity)``, ``unit(quantity)`` and ``verdict(result, quantity)``.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing.
    """
    decided = require_variables(decided, ["mean", "low", "high", "supports", "refutes"], _SOURCE)
    mean, low, high = (
        require_dims(decided[name], ("result", "quantity"), f"{name!r}: {_SOURCE},").values
        for name in ("mean", "low", "high")
    )
    results, rows = mean.shape
    many = results > 1
    looks = [
        (DISTINCT[each % len(DISTINCT)] if many else INK, MARKERS[each % len(MARKERS)])
        for each in range(results)
    ]
    legend: list[Patch | Line2D] = [
        Patch(color=SUPPORTS, label="supports the claim"),
        Patch(color=REFUTES, label="refutes it"),
    ]
    if many:
        legend += [
            Line2D([], [], color=colour, marker=marker, label=literal(str(name)))
            for name, (colour, marker) in zip(decided["result"].values, looks, strict=True)
        ]
    figure, body = sheet(
        8.2,
        rows * (1.05 + 0.22 * (results - 1)),
        title=title or "The rule, decided",
        headline=headline(decided["mean"], about),
        note="Dots are means, lines intervals that hold together. An interval within neither range is undecided.",
        legend=legend,
        **place,
    )
    axes = body.subplots(rows, 1, squeeze=False)[:, 0]
    for row, ax in enumerate(axes):
        quantity = decided.isel(quantity=row)
        ends = np.concatenate([quantity["supports"].values.ravel(), quantity["refutes"].values.ravel()])
        known = np.concatenate([mean[:, row], low[:, row], high[:, row], ends])
        known = known[np.isfinite(known)]
        least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        room = 0.18 * ((most - least) or abs(most) or 1.0)
        ax.set_xlim(least - room, most + room)
        ax.set_ylim(results - 0.5, -0.5)
        _shade(ax, quantity["supports"].values, SUPPORTS)
        for against in quantity["refutes"].values:
            _shade(ax, against, REFUTES)
        for each, (colour, marker) in enumerate(looks):
            ax.plot([low[each, row], high[each, row]], [each, each], color=colour, linewidth=2.2, zorder=3)
            ax.plot(mean[each, row], each, marker, color=colour, markersize=6.5, zorder=4)
        verdict = " / ".join(str(said) for said in quantity["verdict"].values)
        ax.set_ylabel(
            literal(wrap(str(quantity["words"].item()), 3.0, 8.5)),
            rotation=0,
            ha="right",
            va="center",
            fontsize=points(8.5),
            color=INK,
        )
        ax.set_title(literal(verdict), loc="right", fontsize=points(8.5), color=MUTED, pad=2)
        ax.set_xlabel(literal(str(quantity["unit"].item()) or "no unit"))
        ax.set_yticks([])
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.spines["left"].set_visible(False)
    return figure


def _shade(ax, ends: np.ndarray, colour: str) -> None:
    if np.isnan(ends).any():
        return
    left, right = ax.get_xlim()
    low, high = max(float(ends[0]), left), min(float(ends[1]), right)
    if low < high:
        ax.axvspan(low, high, color=colour, linewidth=0, zorder=0)
