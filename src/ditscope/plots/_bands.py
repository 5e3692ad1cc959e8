"""A line with its interval as a band."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ditscope.plots._axes import block_ticks, grid, kind_names
from ditscope.plots._style import Look


def line_style(look: Look) -> dict[str, Any]:
    """How a line is drawn: controls are thinner."""
    size = {"linewidth": 1.3, "markersize": 3.6} if look.control else {"linewidth": 2.0, "markersize": 4.4}
    return {"color": look.colour, "linestyle": look.dash, "marker": look.marker, **size}


def banded(
    ax: Axes,
    at: np.ndarray,
    middle: np.ndarray,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    *,
    name: str,
    style: dict[str, Any],
) -> None:
    """Draw a line named ``name`` at ``at``, with a band where it has an interval."""
    if low is not None and high is not None:
        ax.fill_between(at, low, high, color=style["color"], alpha=0.18, linewidth=0)
    ax.plot(at, middle, gid=name, label=f"_{name}", **style)


def by_block(ax: Axes, array: Any) -> None:
    """An x axis of blocks in execution order."""
    ax.set(xlabel="block, in execution order", xlim=(-0.5, array.sizes["block"] - 0.5))
    grid(ax)
    block_ticks(ax, array, along="x", most=30)
    kind_names(ax, array)
