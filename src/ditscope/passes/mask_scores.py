"""Score masks against reference masks, and compare channel sets as localisers.

A claim that massive channels localise needs its controls at the same place: bottom, random and
std-ranked channels and principal components of all channels go through the same protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError, unknown_name
from ditscope.intervals import LEVEL, RESAMPLES, interval_over
from ditscope.passes.clustering import Protocol, locate
from ditscope.passes.grids import align_reference, cell_counts, ratio
from ditscope.passes.masks import COLLAPSE_SHARE, MaskTable, channel_lookup, images, select, used_channels
from ditscope.passes.source import Source


def score_masks(
    masks: xr.Dataset, reference: xr.DataArray | np.ndarray, *, resize: str = "mask"
) -> xr.Dataset:
    """Overlap of masks on the latent grid with reference masks of the images.

    Args:
        masks: what ``spatial_masks`` returns: ``mask [..., sample, y, x]``.
        reference: bool ``[sample, y_pixel, x_pixel]``; matched by sample label where it has labels.
        resize: ``mask`` brings the mask to pixels by nearest neighbour (as arXiv 2605.13974);
            ``reference`` brings the reference to the latent grid by majority.

    Returns:
        ``iou`` (the mask's own polarity), ``iou_oracle`` (the better of the mask and its complement),
        ``polarity_right`` (the mask is no worse than its complement), ``foreground_share``,
        ``reference_share`` and, where present, ``collapsed``, each ``[..., sample]``. IoU is NaN where
        both masks are empty.
    """
    if resize not in ("mask", "reference"):
        raise unknown_name("resize", resize, ("mask", "reference"))
    mask = masks["mask"].transpose(..., "sample", "y", "x")
    values = align_reference(reference, masks["sample"])
    covered, pixels = cell_counts(values, mask.sizes["y"], mask.sizes["x"])
    if resize == "reference":
        covered, pixels = (covered > pixels / 2).astype(float), np.ones_like(pixels)
    chosen = mask.values
    own, other = _overlap(chosen, covered, pixels), _overlap(~chosen, covered, pixels)
    cell = mask.isel(y=0, x=0, drop=True)
    share = np.broadcast_to(covered.sum((-2, -1)) / pixels.sum(), own.shape)
    result = xr.Dataset(
        {
            "iou": cell.copy(data=own),
            "iou_oracle": cell.copy(data=np.fmax(own, other)),
            "polarity_right": cell.copy(data=own >= np.nan_to_num(other)),
            "foreground_share": cell.copy(data=chosen.mean((-2, -1))),
            "reference_share": cell.copy(data=share.copy()),
        },
        attrs=masks.attrs | {"resize": resize},
    )
    if "collapsed" in masks:
        result["collapsed"] = masks["collapsed"]
    return result


def mask_study(
    source: Source,
    sets: Mapping[str, ChannelSet],
    reference: xr.DataArray | np.ndarray,
    *,
    blocks: Sequence[int | str] | int | str | None = None,
    step: int = -1,
    branch: str = "cond",
    pca: int | None = 12,
    k: int = 2,
    scale: str = "minmax",
    percentile: float = 2.0,
    polarity: str = "signed",
    resize: str = "mask",
    collapse_share: float = COLLAPSE_SHARE,
    seed: int = 0,
    n_init: int = 10,
    site: str = "block_output",
) -> xr.Dataset:
    """IoU of several channel sets, block by block, on the same images.

    Args:
        source: a cache or its ``hidden()`` array of the image stream.
        sets: channel sets by name, the one under test first: top, bottom, random (with draws),
            std-ranked and so on.
        reference: bool ``[sample, y_pixel, x_pixel]``.
        blocks: blocks by index or name; None for all.
        step: scheduler step index, -1 for the last recorded.
        branch: ``cond`` or ``uncond``.
        pca: add a selector ``pca`` of this many principal components of all channels; None leaves it out.
        k: clusters; this and what follows as in ``spatial_masks``.
        scale: of each channel over tokens.
        percentile: lower clip, in per cent.
        polarity: which cluster is the foreground.
        resize: as in ``score_masks``.
        collapse_share: below this share of tokens, a side of the mask counts as collapsed.
        seed: of K-means.
        n_init: K-means initialisations.
        site: where in a block.

    Returns:
        ``iou``, ``iou_oracle``, ``polarity_right``, ``foreground_share``, ``reference_share``, ``collapsed``
        ``[selector, draw, block, sample]``, float, NaN past a selector's draws. :func:`mask_summary` gives
        means with intervals.
    """
    if not sets:
        raise InputError("no channel sets", "at least one", "Pass {'top': ranking.top(12), ...}.")
    if "pca" in sets and pca is not None:
        raise InputError("a set named 'pca'", "another name", "Rename it, or pass pca=None.")
    if not isinstance(step, (int, np.integer)):
        raise InputError(f"step={step!r}", "one step", "Call once per step.")
    options: dict[str, Any] = {
        "k": k,
        "scale": scale,
        "percentile": percentile,
        "polarity": polarity,
        "seed": seed,
        "n_init": n_init,
    }
    place: dict[str, Any] = {"block": blocks, "step": step, "branch": branch, "site": site}
    hidden = select(source, **place)
    align_reference(reference, hidden["sample"])
    work: dict[str, Any] = {
        name: (*channel_lookup(chosen, hidden), Protocol(**options)) for name, chosen in sets.items()
    }
    if pca is not None:
        work["pca"] = (*channel_lookup("all", hidden), Protocol(**options, components=pca))
    tables = {name: MaskTable(hidden, draws, collapse_share) for name, (_, draws, _) in work.items()}
    used = used_channels(hidden, [(lookup, draws) for lookup, draws, _ in work.values()])
    for image in images(select(source, **place, channels=used)):
        for name, (lookup, draws, protocol) in work.items():
            for draw in range(draws):
                found = locate(image.of(lookup(image.labels, draw)), tables[name].border, protocol)
                tables[name].put((*image.at[:2], draw, image.at[2]), found)

    most = max(draws for _, draws, _ in work.values())
    scored = []
    for table in tables.values():
        one = score_masks(table.dataset().squeeze("step"), reference, resize=resize).astype(float)
        scored.append(one.assign_coords(draw=range(one.sizes["draw"])).reindex(draw=range(most)))
    study = xr.concat(scored, dim="selector").assign_coords(selector=list(tables))
    settings = options | {
        "step": int(hidden["step"].values[0]),
        "branch": branch,
        "site": site,
        "resize": resize,
    }
    return study.transpose("selector", "draw", "block", "sample").assign_attrs(settings)


def mask_summary(
    study: xr.Dataset, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> xr.Dataset:
    """Means over draws and samples of a :func:`mask_study`, with intervals that draw whole prompts.

    Args:
        study: what ``mask_study`` returns.
        level: coverage of the intervals.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        ``iou``, ``iou_low``, ``iou_high`` ``[polarity, selector, block]``, polarity ``signed`` (the rule as
        it is) and ``oracle`` (the better of mask and complement); ``lead``, ``lead_low``, ``lead_high``:
        the first selector minus each, paired by sample; and the shares ``polarity_right``, ``collapsed``
        and ``foreground_share`` ``[selector, block]``.
    """
    per_sample = study.mean("draw")
    score = xr.concat([per_sample["iou"], per_sample["iou_oracle"]], dim="polarity")
    score = score.assign_coords(polarity=["signed", "oracle"])
    summary = per_sample[["polarity_right", "collapsed", "foreground_share"]].mean("sample")
    for name, values in (("iou", score), ("lead", score.isel(selector=0, drop=True) - score)):
        found = interval_over(values, level=level, resamples=resamples, seed=seed)
        parts = {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
        summary = summary.assign(
            {label: part.transpose("polarity", "selector", "block") for label, part in parts.items()}
        )
    return summary.assign_attrs(study.attrs | found.attrs)


def _overlap(mask: np.ndarray, covered: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """IoU in pixels of masks ``[..., sample, y, x]`` on the latent grid, from counts per cell."""
    axes = (-2, -1)
    inside = (mask * covered).sum(axes)
    return ratio(inside, (mask * pixels).sum(axes) + covered.sum(axes) - inside)
