"""Whether massive channels are massive at all tokens, and what the few tokens of high norm are like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.plots._axes import log_axis
from ditscope.plots._bands import banded, by_block, line_style
from ditscope.plots._labels import headline, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import MUTED, looks, styled

__all__ = ["registers_by_block"]

_SOURCE = "what registers returns"
_SHARES = {
    "massive_share": "tokens at which the channels are massive",
    "outlier_share": "tokens of high norm",
}
_RATIOS = {
    "selectivity": "massive score, high-norm over typical tokens",
    "elevation": "norm without massive channels, high-norm over typical tokens",
}


@styled
def registers_by_block(
    registers: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.registers` returns: shares of tokens, selectivity and elevation, by block.

    Args:
        registers: the result, averaged over samples, steps and branches, or of one of each: `[block]`.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable is missing, or there are other dims than the block.
    """
    names = (*_SHARES, *_RATIOS)
    registers = require_variables(registers, names, _SOURCE)
    lines = {
        name: require_dims(
            registers[name], ("block",), f"{name!r}: {_SOURCE},", remedy="Average over the other dims first."
        )
        for name in names
    }
    styles = dict(zip(names, (line_style(look) for look in looks([False] * 4)), strict=True))
    first = lines["massive_share"]
    ratio = registers.attrs.get("ratio", 3)
    figure, body = sheet(
        9.0,
        3.5,
        title=title or "Massive channels: at all tokens, or at a few of high norm?",
        headline=headline(first.assign_attrs(registers.attrs), about),
        note=f"A token is of high norm if its norm without the massive channels is above {ratio:g} medians."
        " Ratios are there where such tokens are; 1 is no difference.",
        legend=[Line2D([], [], label=words, **styles[name]) for name, words in (_SHARES | _RATIOS).items()],
        **place,
    )
    left, right = body.subplots(1, 2)
    at = np.arange(first.sizes["block"])
    for ax, group in ((left, _SHARES), (right, _RATIOS)):
        for name in group:
            banded(ax, at, values(lines[name]), name=name, style=styles[name])
        by_block(ax, first)
    left.set(ylabel="share of tokens (0 to 1)", ylim=(-0.03, 1.03))
    drawn = np.concatenate([values(lines[name]) for name in _RATIOS])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    low, high = (min(drawn.min(), 0.5), max(drawn.max(), 2.0)) if drawn.size else (0.5, 2.0)
    right.set_yscale("log")
    right.set(ylabel="ratio", ylim=(low / 1.3, high * 1.3))
    log_axis(right.yaxis, low / 1.3, high * 1.3)
    right.axhline(1, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
    return figure
