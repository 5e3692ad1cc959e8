"""Effects over a small grid: a panel for each metric, a line for each combination of the other dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.errors import InputError
from ditscope.plots._axes import grid
from ditscope.plots._labels import headline, pretty, require_variables
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import DASHES, DISTINCT, MARKERS, MUTED, styled
from ditscope.plots._text import literal, wrap

__all__ = ["grid_effects"]

_MOST_LABELS = 12


@styled
def grid_effects(
    result: xr.Dataset,
    *,
    x: str | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws effects of a sweep over a few labels of any dimensions, with their intervals.

    Args:
        result: ``mean``, ``low`` and ``high``, each ``[metric, ...]`` with one to three more dims. Optional: coords
            ``unit(metric)`` and ``label(metric)``.
        x: the dim across; the first but ``metric`` if it is left out.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing, or there are more dims.
    """
    result = require_variables(result, ["mean", "low", "high"], "what sweep returns")
    dims = [str(dim) for dim in result["mean"].dims if dim != "metric"]
    across = x or next(iter(dims), "")
    if "metric" not in result["mean"].dims or across not in dims or len(dims) > 3:
        raise InputError(
            f"dims {', '.join(map(str, result['mean'].dims))} with x={across!r}",
            "metric, and one to three others, of which x is one",
            "Select or average the rest first.",
        )
    others = [dim for dim in dims if dim != across]
    lines = result.stack(line=others) if others else result.expand_dims(line=[""])
    names = [", ".join(map(str, label)) for label in lines["line"].values.tolist()]
    numbers = result[across].dtype.kind in "iuf"  # between names there is nothing to join
    looks: list[dict[str, Any]] = [
        {
            "color": DISTINCT[at % 6],
            "marker": MARKERS[at % 6],
            "linestyle": DASHES[at % 6] if numbers else "none",
        }
        for at in range(len(names))
    ]
    legend = [
        Line2D([], [], label=literal(name), **look) for name, look in zip(names, looks, strict=True) if name
    ]
    metrics = result["metric"].values
    figure, body = sheet(
        3.0 * len(metrics) + 0.8,
        2.9,
        title=title or "Effect by cell",
        headline=headline(result["mean"].assign_attrs(result.attrs), about),
        note="Points are means, whiskers intervals over prompts.",
        legend=legend,
        **place,
    )
    at = np.arange(result.sizes[across])
    for number, ax in enumerate(body.subplots(1, len(metrics), squeeze=False)[0]):
        panel = lines.isel(metric=number)
        for row, look in enumerate(looks):
            mean, low, high = (
                panel[part].isel(line=row).transpose(across).values for part in ("mean", "low", "high")
            )
            shift = 0.06 * (row - (len(looks) - 1) / 2)
            reach = np.nan_to_num(np.stack([mean - low, high - mean])).clip(0)
            ax.errorbar(at + shift, mean, yerr=reach, capsize=2.0, elinewidth=1.0, **look)
        ax.axhline(0.0, color=MUTED, linewidth=0.8)
        shown = slice(None, None, -(-len(at) // _MOST_LABELS))
        ax.set_xticks(at[shown], [str(label) for label in result[across].values[shown]])
        ax.set_xlabel(literal(pretty(across)))
        words = str(panel["label"].item()) if "label" in panel.coords else str(metrics[number])
        ax.set_title(literal(wrap(words, 2.6, 9.5, weight="bold")))
        unit = str(panel["unit"].item()) if "unit" in panel.coords else ""
        ax.set_ylabel(literal(unit or "value (no unit)"))
        grid(ax)
    return figure
