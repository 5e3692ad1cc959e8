"""How much of each label linear probes read, by block and set of channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ditscope.plots._axes import block_ticks, grid
from ditscope.plots._labels import flags, headline, labels, require_dims, require_variables, sentence, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import FAINT, looks, styled
from ditscope.plots._text import literal

__all__ = ["probe_accuracy"]

_SOURCE = "what probe returns"
_NAMES = ("accuracy", "accuracy_low", "accuracy_high", "chance")
_ACROSS = 3


@styled
def probe_accuracy(
    probed: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.probe` returns, of one step: one panel a label, one line a set of channels.

    Intervals are bands. Dotted lines of a set's colour are its probes of shuffled labels.

    Args:
        probed: of one step; ``accuracy``, ``accuracy_low``, ``accuracy_high`` and ``chance`` ``[label, selector,
            block]``.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing, or there are several steps.
    """
    probed = require_variables(probed, _NAMES, _SOURCE)
    if probed.sizes.get("step") == 1:
        probed = probed.squeeze("step")
    dims = ("label", "selector", "block")
    parts = [require_dims(probed[name], dims, f"{name!r}: {_SOURCE},") for name in _NAMES]
    first = parts[0]
    names, selectors = labels(first, "label"), labels(first, "selector")
    styles = looks(flags(first, "selector"))
    rows = -(-len(names) // _ACROSS)
    columns = -(-len(names) // rows)
    figure, body = sheet(
        max(3.1 * columns, 5.6),
        2.5 * rows,
        title=title or "What linear probes read from hidden states, by block",
        headline=headline(first.assign_attrs(probed.attrs | first.attrs), about),
        note="Share that is right, of prompts that no probe learned from. Bands are intervals over prompts. Dotted: "
        "the same probes of shuffled labels.",
        legend=[
            Line2D([], [], label=literal(name), color=look.colour, linestyle=look.dash, marker=look.marker)
            for name, look in zip(selectors, styles, strict=True)
        ],
        **place,
    )
    axes = body.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, ax in enumerate(axes.flat):
        if panel >= len(names):
            ax.remove()
            continue
        curves = np.stack([values(part.isel(label=panel)) for part in parts])
        at = np.arange(curves.shape[-1])
        # From the last to the first, so that what is tested lies above its controls.
        for index, (name, look) in reversed(list(enumerate(zip(selectors, styles, strict=True)))):
            middle, low, high, chance = curves[:, index]
            ax.fill_between(at, low, high, color=look.colour, alpha=0.15, linewidth=0)
            style = {"linewidth": 1.3 if look.control else 2.0, "markersize": 3.6}
            ax.plot(at, middle, color=look.colour, linestyle=look.dash, marker=look.marker, gid=name, **style)
            ax.plot(
                at, chance, color=look.colour if not look.control else FAINT, linestyle=":", linewidth=1.0
            )
        ax.set_title(literal(sentence(names[panel])))
        ax.set(ylim=(0, 1.02), xlim=(-0.4, len(at) - 0.6))
        if panel % columns == 0:
            ax.set_ylabel("accuracy (0 to 1)")
        if panel >= len(names) - columns:
            ax.set_xlabel("block, in execution order")
            ax.tick_params(labelbottom=True)
        grid(ax)
        block_ticks(ax, first, along="x", most=10)
    return figure
