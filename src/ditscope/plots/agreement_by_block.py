"""Whether two recordings name the same leading channels, block by block."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ditscope.plots._axes import block_ticks, grid, kind_names
from ditscope.plots._labels import headline, labels, pretty, require_dims, require_variables, sentence, values
from ditscope.plots._sheet import sheet
from ditscope.plots._style import MUTED, looks, styled

__all__ = ["agreement_by_block"]

_NAMES = ("agreement", "low", "high")
_SOURCE = "what agreement returns"


@styled
def agreement_by_block(
    agreement: xr.Dataset, *, title: str | None = None, about: Mapping[str, object] | None = None
) -> Figure:
    """Draws what :func:`ditscope.passes.agreement` returns: overlap and rank correlation of two recordings by block.

    Intervals are bands. What random sets would reach is dotted.

    Args:
        agreement: ``agreement``, ``low`` and ``high`` ``[measure, block]``, with the attr ``chance``.
        title: another title.
        about: entries for the line below it.

    Raises:
        InputError: a variable or dim is missing.
    """
    agreement = require_variables(agreement, _NAMES, _SOURCE)
    mean, low, high = (
        require_dims(agreement[name], ("measure", "block"), f"{name!r}: {_SOURCE},") for name in _NAMES
    )
    measures, at = labels(mean, "measure"), np.arange(mean.sizes["block"])
    figure = sheet(
        5.0 * len(measures),
        3.6,
        title=title or "Do both recordings name the same channels?",
        headline=headline(mean.assign_attrs(agreement.attrs), about),
        note="1: the same. Bands are intervals over prompts. Dotted: random sets.",
    )
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    look = looks([False])[0]
    for row, (ax, measure) in enumerate(zip(panels, measures, strict=True)):
        lower, middle, upper = (values(each)[row] for each in (low, mean, high))
        ax.fill_between(at, lower, upper, color=look.colour, alpha=0.2, linewidth=0)
        ax.plot(at, middle, color=look.colour, marker=look.marker, linewidth=2.0, markersize=4.4, gid=measure)
        if measure == "jaccard" and "chance" in agreement.attrs:
            ax.axhline(agreement.attrs["chance"], color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        ax.set_title(sentence(pretty(measure)), pad=18)
        ax.set(xlabel="block, in execution order", xlim=(-0.4, len(at) - 0.6))
        ax.set_ylim(min(0.0, float(np.nanmin(lower, initial=0.0))) - 0.02, 1.02)
        grid(ax)
        block_ticks(ax, mean, along="x", most=30)
        kind_names(ax, mean)
    panels[0].set_ylabel("agreement")
    return figure
