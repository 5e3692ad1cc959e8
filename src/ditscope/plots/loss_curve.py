"""The course of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Unpack

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ditscope import checks
from ditscope.errors import InputError
from ditscope.plots._axes import beside, grid, log_axis
from ditscope.plots._labels import headline, pretty, sentence
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import ACCENT, FAINT, MUTED, RULE, points, styled
from ditscope.plots._text import literal

__all__ = ["loss_curve"]

_BOOKKEEPING = ("step", "seconds")


@styled
def loss_curve(
    rows: pd.DataFrame | Iterable[Mapping[str, float]],
    *,
    columns: Sequence[str] | None = None,
    stages: str | None = None,
    units: Mapping[str, str] | None = None,
    smooth: int = 15,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws the log of a training run: each logged number against the step, in grey, and its running mean.

    Args:
        rows: one mapping per logged step (the lines of a ``.jsonl``), with ``step`` in each.
        columns: what is drawn, one panel each; by default all but step, seconds and ``stages``.
        stages: a column whose changes are ruled and named, such as ``pixels`` of a curriculum.
        units: axis label of a column.
        smooth: rows in the running mean, centred so that it does not lag; 1 for none.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: no rows, no ``step``, a column that is not there, or ``smooth`` out of range.
    """
    table = pd.DataFrame(rows if isinstance(rows, pd.DataFrame) else list(rows))
    if table.empty or "step" not in table:
        found = "no rows" if table.empty else f"the columns {', '.join(map(str, table.columns))}"
        raise InputError(found, "rows with 'step' and at least one number", "Log some steps first.")
    checks.whole_number("smooth", smooth)
    # A resumed run may log a step again: the later row is the one that counts.
    table = table.drop_duplicates("step", keep="last").sort_values("step")
    drawn = list(columns) if columns is not None else [c for c in table if c not in (*_BOOKKEEPING, stages)]
    missing = [name for name in [*drawn, *([stages] if stages else [])] if name not in table]
    if missing or not drawn:
        raise InputError(
            f"no column {(missing or ['?'])[0]!r}",
            f"one of {', '.join(map(str, table.columns))}",
            "Check the name.",
        )
    steps = table["step"].to_numpy(dtype=float)
    known: dict[str, object] = {"steps": f"{int(steps.max()):,}"}
    if "seconds" in table:
        known["minutes"] = f"{float(table['seconds'].max()) / 60:.0f}"
    figure, body = sheet(
        7.4,
        2.2 * len(drawn) + 0.9,
        title=title or "Training curve",
        headline=headline(None, known | dict(about or {})),
        **place,
    )
    panels = body.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for ax, name in zip(panels, drawn, strict=True):
        raw = table[name].to_numpy(dtype=float)
        trend = pd.Series(raw).rolling(smooth, center=True, min_periods=1).mean().to_numpy()
        if smooth > 1:
            ax.plot(steps, raw, color=FAINT, linewidth=0.8, alpha=0.7, label="logged")
        ax.plot(steps, trend, color=ACCENT, linewidth=1.8, label="running mean" if smooth > 1 else "logged")
        positive = raw[np.isfinite(raw)]
        if positive.size and positive.min() > 0 and positive.max() > 8 * positive.min():
            ax.set_yscale("log")
            log_axis(ax.yaxis, float(positive.min()), float(positive.max()))
        unit = (units or {}).get(name)
        ax.set_ylabel(literal(sentence(pretty(name)) + (f" ({unit})" if unit else "")))
        grid(ax)
        finite = trend[np.isfinite(trend)]
        if finite.size:
            style = {"size": points(8.5), "fontweight": "bold", "annotation_clip": False}
            beside(ax, f"{finite[-1]:.3g}", (steps[-1], finite[-1]), (5, 0), ACCENT, **style)
        if stages:
            changed = np.flatnonzero(
                np.r_[True, table[stages].to_numpy()[1:] != table[stages].to_numpy()[:-1]]
            )
            for index in changed:
                if index:
                    ax.axvline(steps[index], color=RULE, linewidth=1.0)
                if ax is panels[0]:
                    words = f"{pretty(stages)} {table[stages].iloc[index]:g}"
                    at = {"xycoords": ax.get_xaxis_transform(), "va": "baseline"}
                    beside(ax, words, (steps[index], 1.0), (3, 2), MUTED, **at)
    panels[-1].set_xlabel("optimizer step")
    panels[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if smooth > 1:
        panels[0].legend(loc="upper right", ncols=2)
    return figure
