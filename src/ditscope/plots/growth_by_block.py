"""What attention and MLP add to channels block by block, and whether their gate or their output stands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ditscope.errors import InputError
from ditscope.plots._bands import by_block
from ditscope.plots._labels import headline, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import DISTINCT, INK, MUTED, styled

__all__ = ["growth_by_block"]

_SOURCE = "what residual_growth returns"
_NAMES = {"attn": "attention", "mlp": "MLP", "other": "what these leave over", "whole": "whole block"}
_COLOURS = dict(zip(_NAMES, DISTINCT, strict=False))


@styled
def growth_by_block(
    growth: xr.Dataset,
    channels: Sequence[int],
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.residual_growth` returns, for some channels: what each part adds, and why.

    Above, what each part of a block adds to the channels' energy; below, by how many doublings gate and output
    stand out above the geometric mean of all channels, in the mean over the channels.

    Args:
        growth: the result, averaged over samples, steps and branches, or of one of each: `[block, part, channel]`.
        channels: ids of the channels that are meant.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable, dim or channel is missing.
    """
    names = ("energy_added", "gate_excess", "output_excess", "energy_growth")
    growth = require_variables(growth, names, _SOURCE)
    dims = ("block", "part", "channel")
    parts = [
        require_dims(growth[name], dims, f"{name!r}: {_SOURCE},", remedy="Average over the other dims first.")
        for name in names[:3]
    ]
    missing = sorted(set(channels) - set(parts[0]["channel"].values.tolist()))
    if missing or not len(channels):
        raise InputError(f"channels {missing or 'none'}", "channels of the result", "Pass their ids.")
    energy, gate, output = (part.sel(channel=list(channels)) for part in parts)
    total = require_dims(growth["energy_growth"], ("block", "channel"), _SOURCE).sel(channel=list(channels))
    there = [name for name in _NAMES if bool(energy.sel(part=name).notnull().any())]
    figure, body = sheet(
        7.0,
        5.2,
        title=title or "What each part of a block adds to the channels",
        headline=headline(
            energy.drop_attrs().assign_attrs(growth.attrs), {"channels": len(channels), **(about or {})}
        ),
        note="Energy: mean over tokens of x squared, summed over the channels; parts add up to the black mark."
        " Below: mean over the channels of log2 of a size over its geometric mean over all channels.",
        legend=[
            *(Patch(color=_COLOURS[name], label=_NAMES[name]) for name in there),
            Line2D([], [], color=INK, marker="_", linestyle="", markersize=9, label="growth in all"),
            Line2D([], [], color=MUTED, marker="o", linestyle="-", label="its gate"),
            Line2D(
                [], [], color=MUTED, marker="s", linestyle=(0, (4, 2)), label="its output, before the gate"
            ),
        ],
        **place,
    )
    upper, lower = body.subplots(2, 1, sharex=True)
    at = np.arange(energy.sizes["block"])
    present = energy.sel(part=there).notnull().any("channel")
    number = present.cumsum("part").transpose("part", "block").values  # of each part among its block's
    shift = number - (1 + number[-1]) / 2
    for name, place in zip(there, at + shift * 0.8 / number.max(), strict=True):
        height = values(energy.sel(part=name).sum("channel", min_count=1))
        upper.bar(place, height, 0.8 / number.max(), color=_COLOURS[name], gid=name)
        for part, marker, dash in ((gate, "o", "-"), (output, "s", (0, (4, 2)))):
            height = values(part.sel(part=name).mean("channel"))
            kind = "gate" if part is gate else "output"
            lower.plot(at, height, color=_COLOURS[name], marker=marker, linestyle=dash, gid=f"{name} {kind}")
    upper.plot(
        at, values(total.sum("channel")), color=INK, marker="_", linestyle="", markersize=12, gid="growth"
    )
    for ax in (upper, lower):
        ax.axhline(0, color=MUTED, linewidth=0.8)
        by_block(ax, energy)
    upper.set(xlabel="", ylabel="energy added")
    lower.set_ylabel("above other channels\n(doublings)")
    upper.tick_params(labelbottom=False)
    return figure
