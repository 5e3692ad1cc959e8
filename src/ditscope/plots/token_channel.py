"""Where the large activations are in one hidden state: token by channel.

What the massive-activations literature draws in three dimensions (Sun et al., arXiv 2402.17762, figure 1), flat:
channels that are large at every token are dark columns with a short bar above, single register tokens dark cells with a
long one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError
from ditscope.plots._axes import colour_bar, frameless, grid, log_axis, number
from ditscope.plots._labels import headline, require_dims, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, FAINT, INK, MAGNITUDE, points, styled
from ditscope.plots._text import TIMES, literal

__all__ = ["token_channel"]

_COLUMNS = 900  # more columns than this are finer than a page
_NAMED = 12


@styled
def token_channel(
    hidden: xr.DataArray,
    *,
    massive: ChannelSet | Iterable[int] = (),
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws one hidden state of ``cache.hidden()``: the absolute activation of every token and channel.

    Below, a cell for each token and channel, in log colour; above, how far each channel reaches from its median token
    to its largest. The channel with the largest value is always named.

    Args:
        hidden: `[token, channel]`, any float type; scalar coords such as block_name, step and sigma
            are named under the title.
        massive: the channels that are drawn in colour: a set, such as ``ranking.top(12)``, of which those of the
            hidden state's block are taken, or channel ids. The largest twelve are named.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: other dims, a massive channel that is not there, or a set of another stream.
    """
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
    marked = np.isin(channels, wanted)
    lost = int((~np.isfinite(magnitude)).sum())
    magnitude = np.where(np.isfinite(magnitude), magnitude, np.nan)
    width = -(-magnitude.shape[1] // _COLUMNS)
    largest = _over_tokens(np.fmax.reduce, magnitude)
    figure, body = sheet(
        8.6,
        5.2,
        title=title or "Activation magnitude by token and channel",
        headline=headline(hidden, about),
        note="  ".join(_notes(hidden, magnitude, channels, width, lost)),
        legend=[
            Patch(color=FAINT, alpha=0.6, label="a channel, from its median token to its largest"),
            *([Line2D([], [], color=ACCENT, linewidth=2.2, label="massive")] if marked.any() else []),
        ],
        **place,
    )
    upper, lower = body.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.9))
    typical = float(np.nanmedian(magnitude)) if lost < magnitude.size else 1.0
    least = (typical or 1.0) / 2
    _reach(upper, magnitude, largest, marked, least)
    named = sorted(np.flatnonzero(marked), key=lambda at: -np.nan_to_num(largest[at]))[:_NAMED]
    most = int(np.argmax(np.nan_to_num(largest)))
    _name(upper, sorted({*map(int, named), most}), largest, channels, marked)
    starts = np.arange(0, magnitude.shape[1], width)
    drawn = np.fmax.reduceat(magnitude, starts, axis=1)
    high = max(float(np.nanmax(drawn, initial=least)), 4 * least)
    # Typical values stay light: what matters here is what stands out.
    mesh = lower.pcolormesh(
        np.append(starts, magnitude.shape[1]) - 0.5,
        np.arange(len(drawn) + 1) - 0.5,
        np.ma.masked_invalid(np.maximum(drawn, least)),
        norm=LogNorm(least, high),
        cmap=MAGNITUDE,
        rasterized=True,
    )
    whole = np.array_equal(channels, np.arange(len(channels)))
    lower.set(xlabel="channel" if whole else "channel, counted within the selection", ylabel="token")
    lower.set(ylim=(len(drawn) - 0.5, -0.5), xlim=(-0.5, magnitude.shape[1] - 0.5))
    frameless(lower)
    colour_bar([upper, lower], mesh, "|activation|, log colour", extend="min")
    return figure


def _notes(
    hidden: xr.DataArray, magnitude: np.ndarray, channels: np.ndarray, width: int, lost: int
) -> list[str]:
    height, across = hidden.attrs.get("grid_height"), hidden.attrs.get("grid_width")
    notes = []
    if lost < magnitude.size:
        token, channel = np.unravel_index(int(np.nanargmax(magnitude)), magnitude.shape)
        largest, median = float(magnitude[token, channel]), float(np.nanmedian(magnitude))
        notes.append(
            f"Largest: {number(float(f'{largest:.3g}'))}, of channel {channels[channel]} at token {token}; "
            f"median of all {number(float(f'{median:.2g}'))}."
        )
    if height and across:
        notes.append(f"Tokens run row by row over the {height} {TIMES} {across} latent grid.")
    if width > 1:
        notes.append(f"Each column is the largest of {width} neighbouring channels.")
    if lost:
        notes.append(f"{lost} values are not finite and are grey.")
    return notes


def _over_tokens(reduce: Any, magnitude: np.ndarray) -> np.ndarray:
    """``[channel]``; NaN of a channel without a finite value."""
    found = np.full(magnitude.shape[1], np.nan)
    some = np.isfinite(magnitude).any(axis=0)
    found[some] = reduce(magnitude[:, some], axis=0)
    return found


def _reach(ax: Axes, magnitude: np.ndarray, largest: np.ndarray, marked: np.ndarray, least: float) -> None:
    """Each channel from its median to its largest token, on a log axis from ``least``."""
    median = np.maximum(_over_tokens(np.nanmedian, magnitude), least)
    for which, colour, alpha, name in ((~marked, FAINT, 0.6, "others"), (marked, ACCENT, 1.0, "massive")):
        at = np.flatnonzero(which)
        thin = float(np.clip(430 / len(marked), 0.5, 2.6)) * (1.4 if name == "massive" else 1.0)
        ax.vlines(
            at,
            median[at],
            np.maximum(largest[at], median[at]),
            color=colour,
            alpha=alpha,
            linewidth=thin,
            gid=name,
        )
    high = max(float(np.nanmax(largest, initial=least)), 2 * least)
    ax.set_yscale("log")
    ax.set(ylabel="|activation|", ylim=(least, high * 1.25))
    log_axis(ax.yaxis, least, high)
    grid(ax)


def _name(ax: Axes, at: list[int], largest: np.ndarray, channels: np.ndarray, marked: np.ndarray) -> None:
    """Name channels above an axes, apart enough to be read, each with a line to its bar."""
    gap, last = 0.034 * len(channels), len(channels) - 1
    places: list[float] = []
    for index in at:
        places.append(max(index, places[-1] + gap) if places else float(index))
    for row in reversed(range(len(places))):
        places[row] = min(places[row], last - (len(places) - 1 - row) * gap)
    for index, place in zip(at, places, strict=True):
        colour = ACCENT if marked[index] else INK
        ax.annotate(
            literal(channels[index]),
            (index, np.nan_to_num(largest[index], nan=1.0)),
            (place, 1.07),
            textcoords=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            size=points(7.5),
            color=colour,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )


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
