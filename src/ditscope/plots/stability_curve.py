"""How many samples a ranking needs: when the top channels stop changing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.plots._axes import beside, grid
from ditscope.plots._labels import headline, labels, require_dims, require_variables, sentence, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, DEPTH, INK, MUTED, PAPER, styled

__all__ = ["stability_curve"]

_SOURCE = "what samples_needed returns"
_MEAN: dict[str, Any] = {"color": INK, "linewidth": 2.2, "label": "mean over blocks"}
_LEAST: dict[str, Any] = {
    "color": INK,
    "linewidth": 1.3,
    "linestyle": (0, (3, 1.5)),
    "label": "least stable block",
}
_CLEAR = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
_EACH: dict[str, Any] = {
    "color": DEPTH(0.5),
    "linewidth": 0.9,
    "label": "each block (green to violet: deeper)",
}


@styled
def stability_curve(
    needed: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.samples_needed` returns: agreement against the samples seen.

    Agreement is that of the running top-k set with the one before it, one panel per stream, with the samples in
    the order in which they were recorded. The stop of the rule is ruled; those of other orders are thin lines.

    Args:
        needed: ``jaccard`` `[order, stream, block, samples]` and ``needed`` `[order]`, with the attr ``tau``. An
            order, stream or block may have been selected.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable, dim, or the coord ``samples`` is missing.
    """
    needed = require_variables(needed, ["jaccard", "needed", "samples"], _SOURCE)
    jaccard, stops = needed["jaccard"], needed["needed"]
    selected = [dim for dim in ("order", "stream", "block") if dim not in jaccard.dims]
    jaccard = require_dims(
        jaccard.expand_dims(selected), ("order", "stream", "block", "samples"), f"'jaccard': {_SOURCE},"
    ).isel(order=0)
    stop, *others = np.atleast_1d(values(require_dims(stops, [*map(str, stops.dims)], "'needed'")))
    seen = np.asarray(jaccard["samples"].values, dtype=float)
    streams, blocks = labels(jaccard, "stream"), labels(jaccard, "block")
    figure, body = sheet(
        7.0 if len(streams) == 1 else 5.0 * len(streams),
        3.6,
        title=title or "How many samples until the top channels settle",
        headline=headline(jaccard.squeeze().assign_attrs(needed.attrs), about),
        note=" ".join(filter(None, (_later(jaccard, needed.attrs, stop), _others(np.array(others))))),
        legend=[Line2D([], [], **style) for style in (_MEAN, _LEAST, _EACH)],
        **place,
    )
    panels = body.subplots(1, len(streams), sharey=True, squeeze=False)[0]
    for ax, stream, lines in zip(panels, streams, values(jaccard), strict=True):
        for index, (line, name) in enumerate(zip(lines, blocks, strict=True)):
            shade = DEPTH(index / max(len(lines) - 1, 1))
            ax.plot(seen, line, color=shade, linewidth=0.9, alpha=0.75, label=f"_{name}", gid=name)
        ax.plot(seen, lines.min(axis=0), **_LEAST)
        ax.plot(seen, lines.mean(axis=0), **_MEAN)
        ax.set_xlabel("samples seen")
        if len(streams) > 1:
            ax.set_title(f"{sentence(stream)} stream")
        _marks(ax, needed.attrs.get("tau"), stop, others)
        grid(ax)
    low = min(float(np.nanmin(values(jaccard))), needed.attrs.get("tau", 1.0))
    panels[0].set_ylim(max(0.0, np.floor(low * 10) / 10 - 0.1), 1.02)
    panels[0].set_ylabel("Jaccard index with the set before (0 to 1)")
    return figure


def _later(jaccard: xr.DataArray, attrs: Mapping[str, Any], stop: float) -> str:
    """What the rule is, and how far and until when blocks fall below the agreement to reach once it has stopped."""
    if "tau" not in attrs:
        return ""
    tau, mean = (
        attrs["tau"],
        f"each block's mean of the last {attrs['patience']}" if "patience" in attrs else "means",
    )
    seen, least = np.asarray(jaccard["samples"].values), values(jaccard).min(axis=(0, 1))
    if not np.isfinite(stop):
        return f"The rule would stop where {mean} is {tau:g}: in {seen.max():g} samples it does not."
    below = (seen > stop) & (least < tau)
    if not below.any():
        return f"The rule stops where {mean} is {tau:g}; no block falls below it after that."
    return (
        f"The rule stops where {mean} is {tau:g}. Sets go on changing: after {stop:g} samples single blocks still fall "
        f"to {least[below].min():.2f}, the last time at {seen[below].max():g} samples."
    )


def _others(stops: np.ndarray) -> str:
    """Where the rule stops in the other orders, in words."""
    reached = stops[np.isfinite(stops)]
    if not len(stops):
        return ""
    where = f"stops at {reached.min():g} to {reached.max():g} samples" if len(reached) else "does not stop"
    never = f", in {len(stops) - len(reached)} of them never" if 0 < len(reached) < len(stops) else ""
    return f"In {len(stops)} other orders of the samples (thin lines) the rule {where}{never}."


def _marks(ax: Axes, tau: float | None, stop: float, others: list[float]) -> None:
    """The agreement to reach, and where the rule stopped in each order of the samples."""
    if tau is not None:
        ax.axhline(tau, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        level: dict[str, Any] = {
            "xycoords": ax.get_yaxis_transform(),
            "ha": "right",
            "va": "bottom",
            "size": 8,
            "bbox": _CLEAR,
        }
        beside(ax, f"agreement to reach: {tau:g}", (1, tau), (0, 3), MUTED, **level)
    for other in others:
        ax.axvline(other, color=ACCENT, linewidth=0.8, alpha=0.45)  # none where it is NaN
    if np.isfinite(stop):
        ax.axvline(stop, color=ACCENT, linewidth=1.4)
        late = stop > np.mean(ax.get_xlim())
        at: dict[str, Any] = {
            "xycoords": ax.get_xaxis_transform(),
            "va": "bottom",
            "size": 8.5,
            "fontweight": "bold",
        }
        at["bbox"] = _CLEAR
        beside(ax, f"rule stops: {stop:g} samples", (stop, 0.03), (-5 if late else 5, 0), ACCENT, **at)
