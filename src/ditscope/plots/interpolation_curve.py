"""How an image changes as more of another run is put into it: one line for each edit, one panel for each metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.errors import InputError
from ditscope.plots._axes import grid
from ditscope.plots._labels import flags, headline, labels, pretty, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import looks, points, styled
from ditscope.plots._text import literal, wrap

__all__ = ["interpolation_curve"]

_ACROSS = 4
_SOURCE = "what transport_curve returns"


@styled
def interpolation_curve(
    curves: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.experiments.transport_curve` returns: each metric by alpha, one line per edit.

    Intervals are bands. Edits that the bool coord ``control(edit)`` names as controls are grey. What has no finite
    value, such as the PSNR of an image that did not change, is left out.

    Args:
        curves: ``mean``, ``low`` and ``high``, each `[metric, edit]`, with the coords ``curve(edit)`` and
            ``alpha(edit)``. Optional coords: ``unit(metric)``, ``label(metric)``.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable, dim or coord is missing.
    """
    curves = require_variables(curves, ["mean", "low", "high"], _SOURCE)
    parts = [
        require_dims(curves[name], ("metric", "edit"), f"{name!r}: {_SOURCE},")
        for name in ("mean", "low", "high")
    ]
    mean = parts[0]
    for name in ("curve", "alpha"):
        if name not in mean.coords or mean.coords[name].dims != ("edit",):
            raise InputError(
                f"edits without the coord {name}", f"{name}(edit): {_SOURCE}", "Pass the whole result."
            )
    names, alphas = mean["curve"].values.astype(str), mean["alpha"].values.astype(float)
    drawn = list(dict.fromkeys(names.tolist()))
    controls = [flags(mean, "edit")[names.tolist().index(name)] for name in drawn]
    styles = [_style(look) for look in looks(controls)]
    metrics = labels(mean, "metric")
    notes = ["Bands are paired bootstrap intervals."]
    if any(controls):
        notes.append("Grey lines are controls.")
    rows = -(-len(metrics) // _ACROSS)
    columns = -(-len(metrics) // rows)
    figure, body = sheet(
        max(2.6 * columns, 5.0),
        2.7 * rows,
        title=title or "The image by the share of the source's values",
        headline=headline(mean.assign_attrs(curves.attrs | mean.attrs), about),
        note=" ".join(notes),
        legend=[
            Line2D([], [], label=literal(name), **style) for name, style in zip(drawn, styles, strict=True)
        ],
        **place,
    )
    axes = body.subplots(rows, columns, sharex=True, squeeze=False)
    for index, ax in enumerate(axes.flat):
        if index >= len(metrics):
            ax.remove()
            continue
        numbers = np.stack([values(part.isel(metric=index)) for part in parts])
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        # From the last to the first, so that what is tested lies above its controls.
        for name, style, control in reversed(list(zip(drawn, styles, controls, strict=True))):
            own = np.flatnonzero(names == name)
            own = own[np.argsort(alphas[own], kind="stable")]
            at, (middle, low, high) = alphas[own], numbers[:, own]
            above = 0 if control else 2
            ax.fill_between(at, low, high, color=style["color"], alpha=0.18, linewidth=0, zorder=1 + above)
            ax.plot(at, middle, gid=name, zorder=2 + above, **style)
        label = mean.coords["label"].values[index] if "label" in mean.coords else pretty(metrics[index])
        unit = str(mean.coords["unit"].values[index]) if "unit" in mean.coords else ""
        ax.set_title(literal(wrap(str(label), 2.2, 8.5)), fontsize=points(8.5))
        ax.set(
            xlabel="alpha (0: the run's own, 1: the source's)" if columns == 1 else "alpha",
            ylabel=unit or "value",
        )
        ax.set_xlim(min(0.0, alphas.min()) - 0.04, max(1.0, alphas.max()) + 0.04)
        grid(ax)
    return figure


def _style(look: Any) -> dict[str, Any]:
    size = {"linewidth": 1.3, "markersize": 3.6} if look.control else {"linewidth": 2.0, "markersize": 4.4}
    return {"color": look.colour, "linestyle": look.dash, "marker": look.marker, **size}
