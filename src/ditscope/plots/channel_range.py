"""The range of each channel over steps: massive channels beside all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ditscope.errors import InputError
from ditscope.plots._axes import grid, log_axis, some
from ditscope.plots._labels import headline, labels, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, FAINT, MUTED, styled

__all__ = ["channel_range"]

_SOURCE = "what channel_ranges returns, of one branch and block"


@styled
def channel_range(
    ranges: xr.Dataset,
    *,
    massive: Iterable[int] = (),
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.channel_ranges` returns, of one branch and block: the range by step.

    Args:
        ranges: ``abs_max`` ``[step, channel]`` and ``at_percentile`` ``[percentile, step, channel]``, of which the last
            percentile is drawn.
        massive: ids of the channels that are drawn one by one; all others are a band.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing, or a channel is not there.
    """
    ranges = require_variables(ranges, ["abs_max", "at_percentile"], _SOURCE)
    peak = require_dims(ranges["abs_max"], ("step", "channel"), f"'abs_max': {_SOURCE},")
    most = require_dims(
        ranges["at_percentile"], ("percentile", "step", "channel"), f"'at_percentile': {_SOURCE},"
    ).isel(percentile=-1)
    ids = list(massive)
    missing = [each for each in ids if each not in peak["channel"].values]
    if missing:
        raise InputError(f"channel {missing[0]}", "channels that have a range", "Pass ids that are there.")
    chosen = np.isin(peak["channel"].values, ids)
    name = f"{float(most['percentile']):g}th percentile over tokens, mean over samples"
    figure, body = sheet(
        7.4,
        3.6,
        title=title or "Range of channels by step",
        headline=headline(peak.assign_attrs(ranges.attrs | peak.attrs), about),
        note="A scale set once has to hold the largest value of all steps; one by percentile cuts off what is above.",
        legend=[
            *(
                [Line2D([], [], color=ACCENT, label="massive channels, largest of all samples")]
                if ids
                else []
            ),
            *([Line2D([], [], color=ACCENT, linestyle=(0, (4, 2)), label=f"massive, {name}")] if ids else []),
            Patch(color=FAINT, alpha=0.5, label="all others, largest: from least to most"),
            Line2D([], [], color=MUTED, label="their median"),
        ],
        **place,
    )
    ax = body.subplots()
    at, rest = np.arange(peak.sizes["step"]), values(peak)[:, ~chosen]
    rest = np.where(rest > 0, rest, np.nan)
    ax.fill_between(at, np.nanmin(rest, axis=1), np.nanmax(rest, axis=1), color=FAINT, alpha=0.5, linewidth=0)
    ax.plot(at, np.nanmedian(rest, axis=1), color=MUTED, gid="others")
    for position in np.flatnonzero(chosen):
        channel = str(int(peak["channel"].values[position]))
        ax.plot(at, values(peak)[:, position], color=ACCENT, gid=channel, marker="o", markersize=2.5)
        ax.plot(at, values(most)[:, position], color=ACCENT, linestyle=(0, (4, 2)), linewidth=1.0)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    log_axis(ax.yaxis, low, high)
    ax.set_xticks(*some(labels(peak, "step"), 20))
    ax.set(xlabel="step", ylabel="largest |x| (the model's unit)")
    grid(ax)
    return figure
