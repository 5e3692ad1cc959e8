"""Where the large activations are in one hidden state: token by channel.

The picture of the massive-activations literature (Sun et al., arXiv 2402.17762, figure 1): channels
that are large at every token are ridges, single register tokens are spikes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError
from ditscope.plots._axes import PLAIN, colour_bar, frameless, mark_top, number
from ditscope.plots._labels import headline, require_dims, values
from ditscope.plots._sheet import Sheet, sheet
from ditscope.plots._style import ACCENT, FAINT, INK, MAGNITUDE, MUTED, RULE, styled
from ditscope.plots._text import TIMES

__all__ = ["token_channel"]

_RIDGES = 160  # more lines than this hide each other
_NAMED = 12


@styled
def token_channel(
    hidden: xr.DataArray,
    *,
    massive: ChannelSet | Iterable[int] = (),
    kind: str = "ridges",
    title: str | None = None,
    about: Mapping[str, object] | None = None,
) -> Figure:
    """Draws one hidden state of ``cache.hidden()``: the absolute activation of every token and channel.

    Args:
        hidden: `[token, channel]`, any float type; scalar coords such as block_name, step and sigma
            are named under the title.
        massive: the channels that are drawn in colour: a set, such as ``ranking.top(12)``, of which those of the
            hidden state's block are taken, or channel ids.
        kind: "ridges" for the 3-D view, "heatmap" for the flat one (log colour).
        title: another title.
        about: entries for the line below it.

    Raises:
        InputError: other dims, an unknown ``kind``, a massive channel that is not there, or a set of another stream.
    """
    checks.name_of("kind", kind, ("ridges", "heatmap"))
    hidden = require_dims(
        hidden,
        ("token", "channel"),
        "one hidden state",
        remedy="Select one sample, step, branch and block first.",
    )
    magnitude = np.abs(values(hidden))
    channels = hidden["channel"].values if "channel" in hidden.coords else np.arange(magnitude.shape[1])
    wanted = _ids(massive, hidden)
    unknown = sorted(set(wanted) - set(channels.tolist()))
    if unknown:
        raise InputError(
            f"massive channel {unknown[0]}", "ids among the channels given", "Use ids of this stream."
        )
    marked = np.flatnonzero(np.isin(channels, wanted)).tolist()
    lost = int((~np.isfinite(magnitude)).sum())
    magnitude = np.where(np.isfinite(magnitude), magnitude, 0.0 if kind == "ridges" else np.nan)
    notes = [f"Tokens run row by row over the {grid} latent grid."] if (grid := _grid(hidden)) else []
    if lost:
        notes.append(f"{lost} values are not finite and are {'drawn as 0' if kind == 'ridges' else 'grey'}.")
    if kind == "ridges" and magnitude.shape[1] - len(marked) > _RIDGES:
        group = -(-(magnitude.shape[1] - len(marked)) // _RIDGES)
        notes.append(f"Each grey line is the largest of {group} neighbouring channels.")
    if kind == "ridges" and marked:
        notes.append("Colour: the channels marked as massive, named by id on the axis.")
    words = (title or "Activation magnitude by token and channel", headline(hidden, about), "  ".join(notes))
    if kind == "ridges":
        return _ridges(magnitude, channels, marked, words)
    return _heatmap(magnitude, channels, marked, words)


def _ids(massive: ChannelSet | Iterable[int], hidden: xr.DataArray) -> list[int]:
    """The massive channels of what is shown."""
    if not isinstance(massive, ChannelSet):
        return [int(channel) for channel in massive]
    stream = hidden.attrs.get("stream", massive.stream)
    if massive.stream != stream:
        passed = f"massive channels of the {massive.stream} stream"
        raise InputError(passed, f"the {stream} stream, which is shown", "Rank that stream.")
    shown = {dim: hidden[dim].item() for dim in massive.kept if dim in hidden.coords}
    block = shown.pop("block", None)
    return [int(channel) for channel in (massive.sel(**shown) if shown else massive)[block]]


def _heatmap(
    magnitude: np.ndarray, channels: np.ndarray, marked: list[int], words: tuple[str, str, str]
) -> Sheet:
    figure = sheet(8.2, 4.4, title=words[0], headline=words[1], note=words[2])
    ax = figure.subplots()
    width = -(-magnitude.shape[1] // 900)
    starts = np.arange(0, magnitude.shape[1], width)
    drawn = np.fmax.reduceat(magnitude, starts, axis=1)
    # Typical values stay light: what matters here is what stands out.
    typical = float(np.nanmedian(drawn)) or 1.0
    norm = LogNorm(typical / 2, max(float(np.nanmax(drawn)), typical * 2))
    edges = np.append(starts, magnitude.shape[1]) - 0.5
    mesh = ax.pcolormesh(
        edges,
        np.arange(len(drawn) + 1) - 0.5,
        np.ma.masked_invalid(np.fmax(drawn, typical / 2)),
        norm=norm,
        cmap=MAGNITUDE,
        rasterized=True,
    )
    ax.set(xlabel="channel", ylabel="token", ylim=(len(drawn) - 0.5, -0.5))
    named = _spread(marked, magnitude.shape[1])
    mark_top(ax, named, channels[named].tolist(), ACCENT)
    frameless(ax)
    colour_bar(ax, mesh, "|activation|, log colour", extend="min")
    return figure


def _ridges(
    magnitude: np.ndarray, channels: np.ndarray, marked: list[int], words: tuple[str, str, str]
) -> Sheet:
    tokens, width = magnitude.shape
    other = np.setdiff1d(np.arange(width), marked)
    group = max(-(-len(other) // _RIDGES), 1)
    figure = sheet(8.2, 5.0, title=words[0], headline=words[1], note=words[2])
    figure.set_layout_engine("none")
    box = figure.get_figheight()
    # Perspective axes leave wide empty margins of their own, so they are given more than their share.
    ax: Any = figure.add_axes((-0.04, 0.3 / box, 1.06, 5.6 / box), projection="3d", computed_zorder=False)
    ax.set_proj_type("persp", focal_length=0.55)
    ax.view_init(elev=24, azim=-57)
    ax.set_box_aspect((1.25, 1.25, 0.72), zoom=1.08)
    along = np.arange(tokens)
    starts = np.arange(0, len(other), group)
    if len(other):
        quiet = np.maximum.reduceat(magnitude[:, other], starts, axis=1)
        # From the back to the front, so that nearer lines cover farther ones.
        lines = [np.column_stack([along, quiet[:, index]]) for index in range(len(starts))][::-1]
        ax.add_collection3d(
            LineCollection(lines, colors=[to_rgba(FAINT, 0.55)], linewidths=0.5),
            zs=other[starts][::-1],
            zdir="y",
        )
    if marked:
        shapes = [
            np.column_stack([np.r_[along, along[-1], 0], np.r_[magnitude[:, index], 0.0, 0.0]])
            for index in marked[::-1]
        ]
        ax.add_collection3d(
            PolyCollection(
                shapes, facecolors=[to_rgba(ACCENT, 0.22)], edgecolors=[ACCENT], linewidths=0.9, zorder=3
            ),
            zs=marked[::-1],
            zdir="y",
        )
    high = float(magnitude.max()) or 1.0
    ax.set(xlim=(0, tokens), ylim=(0, width), zlim=(0, high * 1.02))
    ax.set_xlabel("token", labelpad=4)
    ax.set_ylabel("channel", labelpad=4)
    ax.set_zlabel("|activation|", labelpad=2)
    ax.zaxis.set_major_formatter(PLAIN)
    named = _spread(marked, width)
    ends = [index for index in (0, width - 1) if all(abs(index - other) > 0.05 * width for other in named)]
    ticks = sorted([*named, *ends]) if named else list(range(0, width, max(width // 4, 1)))
    ax.set_yticks(ticks, [str(channels[index]) for index in ticks])
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color(to_rgba("#f7f8fa"))
        axis.line.set_color(RULE)
        axis._axinfo["grid"] |= {"color": RULE, "linewidth": 0.5}
    ax.tick_params(labelcolor=MUTED, labelsize=7.5, pad=0)
    for tick, label in zip(ticks, ax.get_yticklabels(), strict=True):
        if tick in named:
            label.set(color=ACCENT, fontweight="bold")
    others = magnitude[:, other] if len(other) else magnitude
    median = float(np.median(others))
    largest, middle = number(float(f"{high:.3g}")), number(float(f"{median:.2g}"))
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 8, "color": INK, "linespacing": 1.4}
    figure.text(0.975, 0.3 / box, f"largest {largest}\nmedian of the others {middle}", **style)
    return figure


def _spread(marked: list[int], width: int) -> list[int]:
    """The marked channels that can be named without their names touching."""
    chosen: list[int] = []
    for index in marked[:_NAMED]:
        if not chosen or index - chosen[-1] > 0.03 * width:
            chosen.append(index)
    return chosen


def _grid(hidden: xr.DataArray) -> str:
    height, width = hidden.attrs.get("grid_height"), hidden.attrs.get("grid_width")
    return f"{height} {TIMES} {width}" if height and width else ""
