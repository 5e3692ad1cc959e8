"""What low-precision formats cost hidden states, with and without massive channels kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.plots._axes import grid
from ditscope.plots._labels import flags, headline, labels, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import INK, looks, styled
from ditscope.plots._text import literal

__all__ = ["rounding_error"]

_SOURCE = "what quantization_error returns"


@styled
def rounding_error(
    errors: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.quantization_error` returns: signal to rounding noise of each scheme.

    One row a scheme, one mark a set that is kept apart, and a black one where nothing is. Marks are means over all
    places of the ratio in dB, lines reach from the 5th to the 95th percentile of places.

    Args:
        errors: the whole result.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing.
    """
    errors = require_variables(errors, ["sqnr", "rest_sqnr"], _SOURCE)
    dims = ("kept", "scheme", "selector", "draw", "sample", "step", "branch", "block")
    arrays = [require_dims(errors[name], dims, f"{name!r}: {_SOURCE},") for name in ("sqnr", "rest_sqnr")]
    first = arrays[0]
    schemes, selectors = labels(first, "scheme"), labels(first, "selector")
    styles = looks(flags(first, "selector"))
    apart = str(errors.attrs.get("apart", "full precision"))
    marks = [("nothing apart", 0, INK, "o")]
    marks += [
        (f"{name} apart", 1, look.colour, look.marker) for name, look in zip(selectors, styles, strict=True)
    ]
    figure, body = sheet(
        9.4,
        0.9 + 0.42 * len(schemes),
        title=title or "Signal to rounding noise of low-precision formats",
        headline=headline(first.assign_attrs(errors.attrs | first.attrs), about),
        note=f"Higher is better. What is apart is kept in {apart}. Right: the noise of the first set's complement "
        "alone where nothing is apart, and of each set's own complement. Lines: 5th to 95th percentile over samples, "
        "steps and blocks.",
        legend=[
            Line2D([], [], label=literal(name), color=colour, marker=marker, linestyle="none")
            for name, _, colour, marker in marks
        ],
        **place,
    )
    panels = body.subplots(1, 2, sharey=True)
    for ax, array, heading in zip(
        panels, arrays, ("all channels", "channels outside of the set"), strict=True
    ):
        for number, (name, kept, colour, marker) in enumerate(marks):
            own = array.isel(kept=kept, selector=max(number - 1, 0))
            numbers = values(own.transpose("scheme", ...)).reshape(len(schemes), -1)
            numbers = np.where(np.isfinite(numbers), numbers, np.nan)
            low, high = np.nanpercentile(numbers, [5, 95], axis=1)
            at = np.arange(len(schemes)) + 0.6 * ((number + 0.5) / len(marks) - 0.5)
            ax.hlines(at, low, high, color=colour, linewidth=1.2, alpha=0.7)
            ax.plot(np.nanmean(numbers, axis=1), at, linestyle="none", color=colour, marker=marker, gid=name)
        ax.set_title(heading)
        ax.set(xlabel="signal to noise (dB)")
        grid(ax, "x")
    panels[0].set_yticks(range(len(schemes)), [literal(name) for name in schemes])
    panels[0].set(ylabel="scheme")
    panels[0].invert_yaxis()
    return figure
