"""Whether two recordings name the same leading channels, block by block, beside what chance would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ditscope.plots._bands import banded, by_block, line_style
from ditscope.plots._labels import headline, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import FAINT, MUTED, looks, styled

__all__ = ["agreement_by_block"]

_SOURCE = "what agreement returns"
_NAMES = {"jaccard": "Jaccard index of the top sets", "spearman": "rank correlation"}


@styled
def agreement_by_block(
    agreement: xr.Dataset,
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.agreement` returns: overlap and rank correlation by block, with the null.

    Intervals over prompts are bands; grey is what the permutation null reaches, from its mean to its upper bound.

    Args:
        agreement: the whole result, or some of its blocks.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing.
    """
    names = ("agreement", "low", "high", "null", "null_high")
    agreement = require_variables(agreement, names, _SOURCE)
    middle, low, high = (
        require_dims(agreement[name], ("measure", "block"), f"{name!r}: {_SOURCE},") for name in names[:3]
    )
    null, above = (require_dims(agreement[name], ("block",), f"{name!r}: {_SOURCE},") for name in names[3:])
    styles = dict(zip(_NAMES, (line_style(look) for look in looks([False, False])), strict=True))
    styles["spearman"] |= {"linewidth": 3.4, "markersize": 7.5}
    level = agreement.attrs.get("level", 0.95)
    figure, body = sheet(
        7.0,
        3.7,
        title=title or "Agreement of the leading channels, by block",
        headline=headline(middle.assign_attrs(agreement.attrs), about),
        note=_note(agreement),
        legend=[
            *(Line2D([], [], label=_NAMES[name], **style) for name, style in styles.items()),
            Patch(
                color=FAINT, alpha=0.35, label=f"Jaccard index under permutation, to its {level:.0%} bound"
            ),
        ],
        **place,
    )
    ax = body.subplots()
    at = np.arange(middle.sizes["block"])
    ax.fill_between(at, values(null), values(above), color=FAINT, alpha=0.35, linewidth=0)
    for name, style in reversed(styles.items()):  # what coincides shows: the first is thin, and lies above
        here = [values(part.sel(measure=name)) for part in (middle, low, high)]
        banded(ax, at, *here, name=name, style=style)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    by_block(ax, middle)
    ax.set_ylabel("agreement (1 = the same)")
    ax.set_ylim(min(0.0, float(np.nanmin(values(low)))) - 0.03, 1.03)
    return figure


def _note(agreement: xr.Dataset) -> str:
    words = "Bands are intervals over prompts."
    sites = [agreement.attrs.get(name) for name in ("site", "second_site")]
    if sites[0] != sites[1]:
        words += f" The second ranking is of {sites[1]}."
    if "overall_p_value" in agreement:
        overall = float(agreement["overall"].sel(measure="jaccard"))
        words += (
            f" Over all blocks: Jaccard index {overall:.2f}, p = {float(agreement['overall_p_value']):.2g}."
        )
    return words
