"""Each block's channels sorted by magnitude: a cliff after a few channels, or a smooth slope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.errors import InputError
from ditscope.plots.axes import colour_bar, grid, log_axis
from ditscope.plots.labels import facts, kinds, labels, values
from ditscope.plots.scores import as_scores, over_median
from ditscope.plots.sheet import sheet
from ditscope.plots.style import ACCENT, DEPTH, INK, styled
from ditscope.plots.text import literal


@styled
def channel_spectrum(
    scores: Any,
    *,
    k: int | None = 12,
    relative: bool = False,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """Every block's channels sorted by magnitude, on log axes, with the top k marked.

    Args:
        scores: a Ranking, or its scores `[block, channel]`.
        k: how many leading channels are shaded; None for no shading.
        relative: divide by the block's median, so that blocks of different scale lie together.
        title: another title.
        about: facts for the line below it.

    Raises:
        InputError: other dims, negative scores, or a ``k`` beyond the width.
    """
    scores = as_scores(scores)
    magnitude = values(scores)
    blocks, channels = magnitude.shape
    if k is not None and not 1 <= k <= channels:
        raise InputError(f"k={k}", f"1 to {channels} channels", "Pass a smaller k, or None.")
    drawn = over_median(magnitude) if relative else np.where(np.isfinite(magnitude), magnitude, np.nan)
    curves = -np.sort(-drawn, axis=1)  # NaN sorts last
    curves = np.where(curves > 0, curves, np.nan)
    shown = curves[np.isfinite(curves)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.1, 1.0)

    figure = sheet(
        7.4, 3.9, title=title or "Channel magnitudes, sorted within each block", facts=facts(scores, about)
    )
    ax = figure.subplots()
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
        ax.annotate(
            f"top {k}",
            (k + 0.5, 1.0),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-4, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            color=ACCENT,
            fontsize=8.5,
            fontweight="bold",
        )
    if norm is not None:
        bar = colour_bar(ax, ScalarMappable(norm, DEPTH), "block")
        stride = -(-blocks // 20)
        bar.set_ticks(
            range(0, blocks, stride), labels=[literal(text) for text in labels(scores, "block")[::stride]]
        )
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
