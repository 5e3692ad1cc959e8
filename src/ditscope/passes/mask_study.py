"""Compare channel sets as localisers, by their masks' overlap with reference masks.

A claim that massive channels localise needs its controls at the same blocks: bottom, random and
std-ranked channels and principal components of all channels go through the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import Address
from ditscope.errors import InputError
from ditscope.passes.latent_masks import Channels, ImageStates, make_masks
from ditscope.passes.mask_options import MaskOptions
from ditscope.passes.score_masks import align_reference, score_masks
from ditscope.passes.source import Source

__all__ = ["mask_study"]


def mask_study(
    source: Source,
    sets: Mapping[str, ChannelSet],
    reference: xr.DataArray | np.ndarray,
    *,
    blocks: Address | Iterable[Address] | None = None,
    step: int = -1,
    branch: str = "cond",
    site: str = "block_output",
    pca: int | None = 12,
    resize: str = "mask",
    options: MaskOptions = MaskOptions(),  # noqa: B008 (frozen)
) -> xr.Dataset:
    """IoU of several channel sets, block by block, on the same images.

    Args:
        source: a cache or its ``hidden()`` array of the image stream.
        sets: channel sets by name, the one under test first: top, bottom, random (with draws),
            std-ranked and so on.
        reference: bool ``[sample, y_pixel, x_pixel]``.
        blocks: blocks by index, name or kind; None for all.
        step: scheduler step index, -1 for the last recorded.
        branch: ``cond`` or ``uncond``.
        site: where in a block.
        pca: add a selector ``pca`` of this many principal components of all channels; None leaves it out.
        resize: as in ``score_masks``.
        options: how masks are made, as in ``spatial_masks``.

    Returns:
        ``iou``, ``iou_oracle``, ``polarity_right``, ``foreground_share``, ``reference_share``, ``collapsed``
        ``[selector, draw, block, sample]``, float, NaN past a selector's draws; the coord ``control`` says which
        selectors are controls, ``pca`` among them. :func:`mask_summary` gives means with intervals.

    Raises:
        InputError: no sets, a set named ``pca`` beside it, or anything that ``spatial_masks`` or
            ``score_masks`` refuses.
    """
    if not sets:
        raise InputError("no channel sets", "at least one", "Pass {'top': ranking.top(12), ...}.")
    if "pca" in sets and pca is not None:
        raise InputError("a set named 'pca'", "another name", "Rename it, or pass pca=None.")
    if not checks.is_whole(step):
        raise InputError(f"step={step!r}", "one step", "Call once per step.")
    states = ImageStates(source, blocks, step, branch, site)
    align_reference(reference, states.read()["sample"])  # refuses one that does not fit
    wanted: dict[str, tuple[Channels, MaskOptions]] = {
        name: (chosen, options) for name, chosen in sets.items()
    }
    control = [chosen.control for chosen in sets.values()]
    if pca is not None:
        wanted["pca"], control = ("all", replace(options, components=pca)), [*control, True]
    masks = make_masks(states, wanted)
    most = max(each.sizes["draw"] for each in masks.values())
    scored = []
    for each in masks.values():
        scores = score_masks(each.squeeze("step"), reference, resize=resize).astype(float)
        scored.append(scores.assign_coords(draw=range(scores.sizes["draw"])).reindex(draw=range(most)))
    study = xr.concat(scored, dim="selector").transpose("selector", "draw", "block", "sample")
    study = study.assign_coords(selector=list(masks), control=("selector", control))
    where = {"step": int(study["step"]), "branch": branch, "site": site, "resize": resize}
    return study.assign_attrs(options.attributes() | where)
