"""How large every channel is in every block.

Massive channels are a claim about a distribution, so the figure shows all channels: a few far above
the rest look different from a smooth slope, and each block's ratio to its median says by how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ditscope import checks
from ditscope.plots._axes import PLAIN, beside, block_ticks, colour_bar, frameless, log_axis, mark_top, number
from ditscope.plots._labels import headline, values
from ditscope.plots._scores import as_scores, channel_ids, log_norm, over_median
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, INK, MAGNITUDE, MUTED, styled
from ditscope.plots._text import TIMES

if TYPE_CHECKING:
    from ditscope.passes.ranking import Ranking

__all__ = ["channel_magnitude"]

_TITLES = {
    "rank": "Magnitude of every channel in every block, largest first",
    "channel": "Magnitude of every channel in every block",
}
_LEAD = 3.0  # times the block's median: a channel below it is not worth a name
_COLUMNS = 640  # about the pixels there are: more channels than this are drawn as the maximum of neighbours


@styled
def channel_magnitude(
    ranking: Ranking | xr.DataArray,
    *,
    by: str = "rank",
    name: int = 5,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.rank_channels` returns: the magnitude of every channel in every block.

    A heatmap, beside the ratio of each block's largest channel to its median one.

    Args:
        ranking: one ranking per block; or scores `[block, channel]`, not negative.
        by: "rank" sorts the channels of each block and spreads the first ranks on a log axis;
            "channel" keeps their ids, so that a channel that leads in all blocks is a vertical line.
        name: at most how many channels are named above the heatmap (with ``by="channel"``): those
            that are over three times the median in at least half of the blocks.
        title: another title.
        about: entries for the line below it, such as ``{"model": "shapes", "samples": 32}``.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: other dims, negative scores, or an unknown ``by``.
    """
    checks.name_of("by", by, _TITLES)
    checks.whole_number("name", name, least=0)
    scores = as_scores(ranking)
    magnitude = values(scores)
    finite = np.isfinite(magnitude)
    blocks, channels = magnitude.shape
    ids = channel_ids(scores)
    notes = ["Right: the block's largest channel over its median, and that channel's id."]
    if not finite.all():
        notes.append(f"Grey: {int((~finite).sum())} values that are not finite, in no ratio.")

    if by == "rank":
        # NaN sorts last once negated, so the finite channels keep their ranks.
        drawn = -np.sort(-np.where(finite, magnitude, np.nan), axis=1)
        edges = np.arange(channels + 1) + 0.5
        across = "channel rank in its block (1 = largest)"
    else:
        width = -(-channels // _COLUMNS)
        edges = np.append(np.arange(0, channels, width), channels) - 0.5
        drawn = np.fmax.reduceat(np.where(finite, magnitude, np.nan), np.arange(0, channels, width), axis=1)
        across = "channel" if ids == list(range(channels)) else "channel, counted within the selection"
        if width > 1:
            notes.append(f"Each column is the largest of {width} neighbouring channels.")

    figure, body = sheet(
        8.6,
        _rows_height(blocks),
        title=title or _TITLES[by],
        headline=headline(scores, about),
        note="  ".join(notes),
        **place,
    )
    left, right = body.subplots(1, 2, width_ratios=(5.2, 1.5), sharey=True)
    norm = log_norm(drawn)
    mesh = left.pcolormesh(
        edges,
        np.arange(blocks + 1) - 0.5,
        np.ma.masked_invalid(np.fmax(drawn, float(norm.vmin or 0))),
        norm=norm,
        cmap=MAGNITUDE,
        rasterized=True,
    )
    left.set(xlabel=across, ylabel="block, in execution order", ylim=(blocks - 0.5, -0.5))
    if by == "rank":
        left.set_xscale("log")
        log_axis(left.xaxis, 1, channels, first=1)
        left.set_xlim(0.5, channels + 0.5)
    elif name:
        leaders = _leaders(magnitude, name)
        mark_top(left, leaders, [ids[index] for index in leaders], INK)
    block_ticks(left, scores, along="y")
    frameless(left)
    _ratios(right, scores, magnitude, ids)
    colour_bar(
        [left, right],
        mesh,
        f"magnitude ({scores.attrs.get('statistic', 'score')}), log colour",
        aspect=max(30.0, 8.0 * _rows_height(blocks)),
    )
    return figure


def _ratios(ax: Axes, scores: xr.DataArray, magnitude: np.ndarray, ids: list[Any]) -> None:
    """Each block's largest channel over its median."""
    every = over_median(magnitude)
    ratio = np.fmax.reduce(every, axis=1)
    rows = np.arange(len(ratio))
    ax.hlines(rows, 1.0, ratio, color=ACCENT, linewidth=1.4, alpha=0.45)
    ax.plot(ratio, rows, "o", color=ACCENT, markersize=4.5, label="largest over median")
    largest = np.nanmax(ratio, initial=1.0)
    wide = largest > 40
    if wide:
        ax.set_xscale("log")
        log_axis(ax.xaxis, 1, largest)
    # Room for the words behind the longest bar.
    ax.set_xlim(1.0, largest**1.8 if wide else 1 + (largest - 1) * 1.75 + 0.1)
    if not wide:
        # Bars start at 1, where no channel stands out, so the axis says so.
        ticks = MaxNLocator(3, integer=True).tick_values(1, largest)
        ax.set_xticks([1.0, *(tick for tick in ticks if 2 < tick <= largest)])
        ax.xaxis.set_major_formatter(PLAIN)
    if len(ratio) <= 64:
        for row, value in enumerate(ratio):
            if np.isfinite(value):
                leader = ids[int(np.nanargmax(every[row]))]
                text = f"{number(round(value, 1 if value < 100 else 0))}{TIMES}  #{leader}"
                beside(ax, text, (value, row), (6, 0), MUTED)
    ax.set_xlabel("largest / median")
    ax.tick_params(axis="y", length=0, labelleft=False)
    ax.spines["left"].set_visible(False)
    block_ticks(ax, scores, along="y")
    ax.tick_params(axis="y", labelleft=False)


def _leaders(magnitude: np.ndarray, count: int) -> list[int]:
    """Channels far above the median in at least half of the blocks, apart enough to be named side by side."""
    lead = np.median(np.nan_to_num(over_median(magnitude)), axis=0)
    chosen: list[int] = []
    for index in np.argsort(-lead, kind="stable"):
        if lead[index] < _LEAD or len(chosen) == count:
            break
        if all(abs(int(index) - other) > 0.035 * len(lead) for other in chosen):
            chosen.append(int(index))
    return sorted(chosen)


def _rows_height(blocks: int) -> float:
    """Inches for a row per block: names stay readable, and the whole stays on a page."""
    return float(np.clip(0.27 * blocks + 0.75, 2.4, 9.2))
