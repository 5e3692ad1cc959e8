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
    also: Mapping[str, xr.Dataset] | None = None,
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
        also: masks that are made otherwise, by name, such as those of ``concept_masks``: ``mask [(block,) sample, y,
            x]``, scored as controls beside the others. Without blocks they stand beside each.

    Returns:
        ``iou``, ``iou_oracle``, ``polarity_right``, ``foreground_share``, ``reference_share``, ``collapsed``
        ``[selector, draw, block, sample]``, float, NaN past a selector's draws; the coord ``control`` says which
        selectors are controls, ``pca`` among them. :func:`mask_summary` gives means with intervals.

    Raises:
        InputError: no sets, one name twice, ``pca`` among them, or anything that ``spatial_masks`` or
            ``score_masks`` refuses.

    Examples:
        >>> sets = {"massive": massive, "random": ranking.random(6, draws=2)}
        >>> study = ds.passes.mask_study(cache, sets, ds.shapes.foreground(cache.images), blocks="single.5", pca=None)
        >>> study["iou"].dims
        ('selector', 'draw', 'block', 'sample')
    """
    if not sets:
        raise InputError("no channel sets", "at least one", "Pass {'top': ranking.top(12), ...}.")
    also = dict(also or {})
    names = [*sets, *([] if pca is None else ["pca"]), *also]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"two selectors named {twice[0]!r}", "a name for each", "Rename one, or pass pca=None."
        )
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
    masks = {name: each.squeeze("step") for name, each in make_masks(states, wanted).items()}
    first = next(iter(masks.values()))
    masks |= {name: _beside(each, first) for name, each in also.items()}
    control += [True] * len(also)
    most = max(each.sizes["draw"] for each in masks.values())
    scored = []
    for name, each in masks.items():
        scores = score_masks(each, reference, resize=resize).astype(float)
        if name in also and "block" in also[name]["mask"].dims:
            scores = scores.where(scores["block"].isin(also[name]["block"]))
        scored.append(scores.assign_coords(draw=range(scores.sizes["draw"])).reindex(draw=range(most)))
    study = xr.concat(scored, dim="selector").transpose("selector", "draw", "block", "sample")
    study = study.assign_coords(selector=list(masks), control=("selector", control))
    where = {"step": int(study["step"]), "branch": branch, "site": site, "resize": resize}
    return study.assign_attrs(options.attributes() | where)


def _beside(masks: xr.Dataset, first: xr.Dataset) -> xr.Dataset:
    """Masks ``[(block,) sample, y, x]`` with the blocks, samples and labels of the first selector's."""
    mask = masks["mask"]
    bare = mask.drop_vars([name for name in mask.coords if name not in mask.dims])
    if "block" not in bare.dims:
        bare = bare.expand_dims(block=first["block"].values)
    if set(bare.dims) != {"block", "sample", "y", "x"} or not first["sample"].isin(bare["sample"]).all():
        raise InputError(
            f"masks with dims {', '.join(map(str, mask.dims))}",
            "mask [(block,) sample, y, x] of every sample",
            "Make them of one step and the same samples.",
        )
    bare = bare.reindex(block=first["block"].values, fill_value=False).sel(sample=first["sample"].values)
    labels = {name: c for name, c in first.coords.items() if "draw" not in c.dims}
    return bare.expand_dims("draw").assign_coords(labels).to_dataset(name="mask")
