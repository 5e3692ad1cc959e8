"""Each block's channels sorted by magnitude: a cliff after a few channels, or a smooth slope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope import checks
from ditscope.plots._axes import beside, colour_bar, grid, log_axis, some
from ditscope.plots._labels import headline, kinds, labels, values
from ditscope.plots._scores import as_scores, over_median
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, DEPTH, INK, styled

if TYPE_CHECKING:
    from ditscope.passes.ranking import Ranking

__all__ = ["channel_spectrum"]


@styled
def channel_spectrum(
    ranking: Ranking | xr.DataArray,
    *,
    k: int | None = 12,
    relative: bool = False,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.rank_channels` returns: each block's channels, sorted by magnitude.

    Both axes are logarithmic, and the top k are marked.

    Args:
        ranking: one ranking per block; or scores `[block, channel]`, not negative.
        k: how many leading channels are shaded; None for no shading.
        relative: divide by the block's median, so that blocks of different scale lie together.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: other dims, negative scores, or a ``k`` beyond the width.
    """
    scores = as_scores(ranking)
    magnitude = values(scores)
    blocks, channels = magnitude.shape
    if k is not None:
        checks.whole_number("k", k, most=channels, of=" (the channels there are)")
    drawn = over_median(magnitude) if relative else np.where(np.isfinite(magnitude), magnitude, np.nan)
    curves = -np.sort(-drawn, axis=1)  # NaN sorts last
    curves = np.where(curves > 0, curves, np.nan)
    shown = curves[np.isfinite(curves)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.1, 1.0)

    figure, body = sheet(
        7.4,
        3.9,
        title=title or "Channel magnitudes, sorted within each block",
        headline=headline(scores, about),
        **place,
    )
    ax = body.subplots()
    kind = kinds(scores)
    dashes: tuple[Any, ...] = ("-", (0, (4, 1.6)), (0, (1, 1.5)))
    dashed = dict(zip(dict.fromkeys(kind), dashes, strict=False))
    weight = 1.3 if blocks <= 20 else 0.8
    norm = BoundaryNorm(np.arange(blocks + 1) - 0.5, DEPTH.N) if blocks > 1 else None
    colours = [DEPTH(index / max(blocks - 1, 1)) for index in range(blocks)]
    for curve, colour, word, label in zip(curves, colours, kind, labels(scores, "block"), strict=True):
        ax.plot(
            np.arange(1, channels + 1),
            curve,
            color=colour,
            linestyle=dashed.get(word, "-"),
            linewidth=weight,
            label=f"_{label}",
            gid=label,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    statistic = scores.attrs.get("statistic", "score")
    ax.set(
        xlabel="channel rank in its block (1 = largest)",
        ylabel=f"magnitude over the block's median ({statistic})" if relative else f"magnitude ({statistic})",
        xlim=(0.9, channels * 1.05),
    )
    log_axis(ax.xaxis, 1, channels)
    log_axis(ax.yaxis, low, high)
    grid(ax)
    if k is not None:
        ax.axvspan(0.9, k + 0.5, color=ACCENT, alpha=0.09, linewidth=0, zorder=0)
        ax.axvline(k + 0.5, color=ACCENT, linewidth=1.0)
        at = {"xycoords": ax.get_xaxis_transform(), "va": "top", "size": 8.5, "fontweight": "bold"}
        beside(ax, f"top {k}", (k + 0.5, 1.0), (-4, -4), ACCENT, **at)
    if norm is not None:
        bar = colour_bar(ax, ScalarMappable(norm, DEPTH), "block")
        ticks, names = some(labels(scores, "block"), 20)
        bar.set_ticks(ticks, labels=names)
        bar.ax.tick_params(length=0)
        bar.ax.minorticks_off()
        bar.ax.invert_yaxis()
    words = [word for word in dashed if word]
    if len(words) > 1:
        handles = [
            Line2D([], [], color=INK, linestyle=dashed[word], linewidth=1.3, label=f"{word} blocks")
            for word in words
        ]
        ax.legend(handles=handles, loc="lower left")
    return figure
