"""Over what channels vary: the share of each factor in their variance, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ditscope.plots._bands import by_block
from ditscope.plots._labels import headline, labels, require_dims, require_variables, values
from ditscope.plots._sheet import Place, sheet
from ditscope.plots._style import DISTINCT, MISSING, styled
from ditscope.plots._text import literal

__all__ = ["variance_shares"]

_SOURCE = "what variance_components returns"


@styled
def variance_shares(
    components: xr.Dataset | Mapping[str, xr.Dataset],
    *,
    title: str | None = None,
    about: Mapping[str, object] | None = None,
    **place: Unpack[Place],
) -> Figure:
    """Draws what :func:`ditscope.passes.variance_components` returns: the mean share over channels of each factor.

    Args:
        components: the result, for the channels that are meant; or several by name, such as massive and other
            channels, with a panel each.
        title: another title.
        about: entries for the line below it.
        **place: ``figure=`` or ``ax=``: a figure, subfigure or axes of your own to draw in.

    Raises:
        InputError: a variable or dim is missing.
    """
    named = (
        components
        if isinstance(components, Mapping) and not isinstance(components, xr.Dataset)
        else {"": components}
    )
    shares = {
        name: require_dims(
            require_variables(each, ("share",), _SOURCE)["share"], ("component", "block", "channel"), _SOURCE
        ).assign_attrs(each.attrs)
        for name, each in named.items()
    }
    first = next(iter(shares.values()))
    factors = labels(first, "component")
    colours = dict(zip(factors, (*DISTINCT[: len(factors) - 1], MISSING), strict=False))
    figure, body = sheet(
        max(5.0 * len(shares), 6.6),
        3.7,
        title=title or "Over what the channels vary",
        headline=headline(first, about),
        note="Each factor's share of the sum of squares about the mean, averaged over channels; the leftover is"
        " where factors act together.",
        legend=[Patch(color=colour, label=literal(name)) for name, colour in colours.items()],
        **place,
    )
    panels = body.subplots(1, len(shares), sharey=True, squeeze=False)[0]
    for ax, (name, share) in zip(panels, shares.items(), strict=True):
        below = np.zeros(share.sizes["block"])
        for factor in factors:
            height = np.nan_to_num(values(share.sel(component=factor).mean("channel")))
            ax.bar(np.arange(len(below)), height, 0.82, bottom=below, color=colours[factor], gid=factor)
            below = below + height
        by_block(ax, share)
        ax.set_ylim(0, 1)
        if name:
            ax.set_title(literal(name), pad=18)
    panels[0].set_ylabel("share of the variance (0 to 1)")
    return figure
