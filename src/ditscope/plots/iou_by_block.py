"""Agreement of masks with a reference, block by block, with its doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.plots._axes import block_ticks, grid, kind_names
from ditscope.plots._labels import flags, headline, labels, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import MUTED, Look, looks, styled
from ditscope.plots._text import literal

__all__ = ["iou_by_block"]

_NAMES = ("iou", "iou_low", "iou_high")
_POLARITIES = {"signed": "Signed rule", "oracle": "Oracle polarity"}
_SOURCE = "what mask_summary returns"


@styled
def iou_by_block(
    summary: xr.Dataset,
    *,
    chance: float | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.mask_summary` returns: IoU by block, one line per selector.

    Intervals are bands. Selectors that the bool coord ``control(selector)`` names as controls are grey.

    Args:
        summary: ``iou``, ``iou_low`` and ``iou_high``, each `[selector, block]`, or `[polarity, selector, block]`
            for one panel per polarity ("signed", "oracle").
        chance: a level to compare with, such as the IoU of "everything is foreground".
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing.
    """
    summary = require_variables(summary, _NAMES, _SOURCE)
    split = "polarity" in summary["iou"].dims
    dims = ("polarity", "selector", "block") if split else ("selector", "block")
    lines = [require_dims(summary[name], dims, f"{name!r}: {_SOURCE},") for name in _NAMES]
    middle = lines[0]
    selectors, controls = labels(middle, "selector"), flags(middle, "selector")
    styles = [_style(look) for look in looks(controls)]
    polarities = labels(middle, "polarity") if split else [""]
    notes = ["Bands are intervals over samples."]
    if any(controls):
        notes.append("Grey lines are controls.")
    if chance is not None:
        notes.append(f"Dotted: {chance:.2f}, the whole image taken as foreground.")
    figure, body = sheet(
        max(5.0 * len(polarities), 6.6),
        3.9,
        title=title or "IoU of the masks with the reference, by block",
        headline=headline(middle.assign_attrs(summary.attrs | middle.attrs), about),
        note=" ".join(notes),
        legend=[
            Line2D([], [], label=literal(name), **style)
            for name, style in zip(selectors, styles, strict=True)
        ],
        **place,
    )
    panels = body.subplots(1, len(polarities), sharey=True, squeeze=False)[0]
    for panel, (ax, polarity) in enumerate(zip(panels, polarities, strict=True)):
        curves = np.stack([values(line.isel(polarity=panel) if split else line) for line in lines])
        at = np.arange(curves.shape[-1])
        # From the last to the first, so that what is tested lies above its controls.
        for index in reversed(range(len(selectors))):
            iou, low, high = curves[:, index]
            style, above = styles[index], 0 if controls[index] else 2
            alpha = 0.16 if controls[index] else 0.2
            ax.fill_between(at, low, high, color=style["color"], alpha=alpha, linewidth=0, zorder=1 + above)
            ax.plot(at, iou, label=selectors[index], gid=selectors[index], zorder=2 + above, **style)
        if chance is not None:
            ax.axhline(chance, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        ax.set(xlabel="block, in execution order", ylim=(0, 1), xlim=(-0.4, len(at) - 0.6))
        grid(ax)
        block_ticks(ax, middle, along="x", most=30)
        kind_names(ax, middle)
        if polarity:
            ax.set_title(literal(_POLARITIES.get(polarity, polarity)), pad=18)
    panels[0].set_ylabel("IoU (0 to 1)")
    return figure


def _style(look: Look) -> dict[str, Any]:
    thin = look.control
    size = {"linewidth": 1.3 if thin else 2.0, "markersize": 3.6 if thin else 4.4}
    return {"color": look.colour, "linestyle": look.dash, "marker": look.marker, **size}
