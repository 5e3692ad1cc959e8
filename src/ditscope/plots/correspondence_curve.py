"""How well features find a point of one image in another, by the tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.errors import InputError
from ditscope.plots._axes import grid
from ditscope.plots._bands import line_style
from ditscope.plots._labels import headline, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import looks, styled
from ditscope.plots._text import literal

__all__ = ["correspondence_curve"]

_SOURCE = "what correspondence returns"


@styled
def correspondence_curve(
    found: Mapping[str, xr.Dataset],
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.correspondence` returns of several features: PCK by tolerance.

    Args:
        found: results by name of the features, of the same pairs and tolerances.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: there is none, a variable is missing, or tolerances differ.
    """
    if not isinstance(found, Mapping) or isinstance(found, xr.Dataset) or not found:
        raise InputError(f"results as {type(found).__name__}", "results by name", 'Pass {"raw": result}.')
    names = ("mean", "low", "high")
    curves = {
        name: [
            require_dims(require_variables(each, (*names, "pck"), _SOURCE)[part], ("alpha",), _SOURCE)
            for part in names
        ]
        for name, each in found.items()
    }
    first = next(iter(curves.values()))[0]
    if any(not np.array_equal(each[0]["alpha"], first["alpha"]) for each in curves.values()):
        raise InputError("results of different tolerances", "the same alphas", "Score them alike.")
    one = next(iter(found.values()))
    styles = [line_style(look) for look in looks([False] * len(curves))]
    figure, body = sheet(
        6.6,
        3.7,
        title=title or "Points found in the other image",
        headline=headline(
            first.assign_attrs({n: v for n, v in one.attrs.items() if n not in ("when",)}),
            {"pairs": one.sizes["pair"], **(about or {})},
        ),
        note="Share of a pair's points matched within alpha times the longer side of the object's box; bars are"
        " intervals over pairs.",
        legend=[
            Line2D([], [], label=literal(name), **style) for name, style in zip(curves, styles, strict=True)
        ],
        **place,
    )
    ax = body.subplots()
    at = np.arange(first.sizes["alpha"], dtype=float)
    for row, ((name, parts), style) in enumerate(zip(curves.items(), styles, strict=True)):
        middle, low, high = (values(part) for part in parts)
        x = at + (row - (len(curves) - 1) / 2) * 0.08
        error = np.clip([middle - low, high - middle], 0, None)
        ax.errorbar(x, middle, error, capsize=2.5, elinewidth=1.2, gid=name, **style)
    ax.set_xticks(at, [f"{alpha:g}" for alpha in first["alpha"].values])
    ax.set(xlabel="tolerance alpha", ylabel="PCK (0 to 1)", ylim=(-0.02, 1.02), xlim=(-0.5, len(at) - 0.5))
    grid(ax)
    return figure
