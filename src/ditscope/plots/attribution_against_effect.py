"""Effects to first order against measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ditscope.plots._axes import colour_bar, grid, number
from ditscope.plots._labels import headline, require_dims, require_variables
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import DEPTH, MUTED, styled

__all__ = ["attribution_against_effect"]

_SOURCE = "what ditscope.attribution and ditscope.patch_effect return"


@styled
def attribution_against_effect(
    attribution: xr.Dataset,
    effect: xr.Dataset,
    agreement: xr.Dataset | None = None,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws effects of single channels to first order against the same measured: a point for each, a panel a step.

    Both axes are linear up to the median size of a measured effect, and logarithmic beyond it.

    Args:
        attribution: what :func:`ditscope.attribution` returns, of one branch.
        effect: what :func:`ditscope.patch_effect` returns; the places that both have are drawn.
        agreement: what :func:`ditscope.passes.rank_agreement` returns of the two, over blocks and channels.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or a dim is missing, or there are several branches.
    """
    predicted, measured = (
        require_dims(
            require_variables(each, ("effect",), _SOURCE)["effect"].squeeze("branch"),
            ("sample", "step", "block", "channel"),
            f"'effect': {_SOURCE},",
        )
        for each in (attribution, effect)
    )
    predicted, measured = xr.align(predicted, measured, join="inner")
    note = (
        "Dashed: the measured effect is the predicted one. Linear up to the median measured effect, then log."
    )
    if agreement is not None:
        note += " Rank correlation with its interval over prompts."
    steps = measured.sizes["step"]
    figure, body = sheet(
        max(3.2 * steps + 0.8, 5.6),
        3.4,
        title=title or "Effect of single channels: to first order, and measured",
        headline=headline(measured.assign_attrs(effect.attrs), about),
        note=note,
        **place,
    )
    panels = list(body.subplots(1, steps, squeeze=False)[0])
    norm = Normalize(0, max(measured.sizes["block"] - 1, 1))
    depth = np.broadcast_to(
        np.arange(measured.sizes["block"])[:, None], measured.isel(sample=0, step=0).shape
    )
    for at, ax in enumerate(panels):
        x, y = (each.isel(step=at).values for each in (measured, predicted))
        size = np.nanmax(np.abs([x, y]))
        threshold = float(np.nanmedian(np.abs(x))) or 1.0
        ax.axline((0, 0), slope=1, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        colours = np.broadcast_to(depth, x.shape)
        ax.scatter(x, y, c=colours, cmap=DEPTH, norm=norm, s=9, alpha=0.75, linewidths=0)
        ax.set_xscale("symlog", linthresh=threshold)
        ax.set_yscale("symlog", linthresh=threshold)
        limits, ticks = (-1.4 * size, 1.4 * size), _ticks(threshold, size)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks(ticks, labels=[number(tick) for tick in ticks])
        ax.set(xlim=limits, ylim=limits, xlabel="measured effect", ylabel="" if at else "first-order effect")
        ax.set_aspect("equal")
        grid(ax, "x")
        grid(ax, "y")
        words = f"step {measured['step'].values[at]}"
        if agreement is not None:
            own = agreement.squeeze("branch").isel(step=at)
            words += f": rank corr. {own['mean']:.2f} [{own['low']:.2f}, {own['high']:.2f}]"
        ax.set_title(words)
    bar = colour_bar(panels, ScalarMappable(norm, DEPTH), "block, in execution order")
    bar.set_ticks([0, measured.sizes["block"] - 1])
    bar.set_ticklabels([str(measured["block"].values[end]) for end in (0, -1)])
    return figure


def _ticks(threshold: float, size: float) -> list[float]:
    """Zero, and the two largest powers of ten on either side that stand clear of it."""
    powers = np.arange(np.ceil(np.log10(5 * threshold)), np.floor(np.log10(size)) + 1)[-2:]
    return [*(-(10.0 ** powers[::-1])), 0.0, *(10.0**powers)]
