"""How much hidden states change from step to step, with and without massive channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.plots._axes import colour_bar, grid, some
from ditscope.plots._labels import headline, labels, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, AGREEMENT, INK, styled
from ditscope.plots._text import literal

__all__ = ["change_by_step"]

_SOURCE = "what redundancy returns"
_LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "relative_change": ("all channels", {"color": INK, "linestyle": "-", "marker": "o"}),
    "relative_change_of": ("the set", {"color": ACCENT, "linestyle": "-", "marker": "s"}),
    "relative_change_without": (
        "all but the set",
        {"color": ACCENT, "linestyle": (0, (4, 2)), "marker": "D"},
    ),
}


@styled
def change_by_step(
    changes: xr.Dataset,
    *,
    selector: str | None = None,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.redundancy` returns: change by step, and the set's share of it by block.

    Lines are medians over samples, branches and blocks, bands the middle half of the blocks (of their means). The map
    is the mean over samples and branches.

    Args:
        changes: the whole result; draws are averaged.
        selector: the set that is drawn; the first by default.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing.
    """
    changes = require_variables(changes, [*_LINES, "change_share"], _SOURCE)
    dims = ("sample", "step", "branch", "block")
    name = labels(changes["change_share"], "selector")[0] if selector is None else selector
    drawn = {}
    for variable in (*_LINES, "change_share"):
        array = changes[variable]
        if "selector" in array.dims:
            array = array.sel(selector=name, drop=True).mean("draw")
        drawn[variable] = require_dims(array, dims, f"{variable!r}: {_SOURCE},").mean(("sample", "branch"))
    first = drawn["relative_change"]
    at = np.arange(first.sizes["step"])
    figure, body = sheet(
        9.4,
        3.6,
        title=title or "Change of hidden states from step to step",
        headline=headline(first.assign_attrs(changes.attrs | first.attrs), {"set": name} | dict(about or {})),
        note="Left: medians over blocks, bands from the lower to the upper quarter. Right: the set's part of the "
        "squared change; 1 is all of it.",
        legend=[
            Line2D([], [], label=words.replace("the set", name), **style) for words, style in _LINES.values()
        ],
        **place,
    )
    left, right = body.subplots(1, 2)
    for variable, (_, style) in _LINES.items():
        curve = values(drawn[variable].transpose("block", "step"))
        low, middle, high = np.nanpercentile(curve, [25, 50, 75], axis=0)
        left.fill_between(at, low, high, color=style["color"], alpha=0.12, linewidth=0)
        left.plot(at, middle, gid=variable, **style)
    ticks, shown = some(labels(first, "step"), 16)
    left.set_xticks(ticks, shown)
    left.set(xlabel="step", ylabel="relative change, of the size before", ylim=(0, None))
    grid(left)
    share = values(drawn["change_share"].transpose("block", "step"))
    mesh = right.pcolormesh(share, cmap=AGREEMENT, vmin=0, vmax=1)
    names, words = some(labels(first, "block"), 30)
    right.set_yticks(np.array(names) + 0.5, words)
    right.set_xticks(np.array(ticks) + 0.5, shown)
    right.invert_yaxis()
    right.set(xlabel="step", ylabel="block")
    colour_bar(right, mesh, literal(f"share of the squared change: {name}"))
    return figure
