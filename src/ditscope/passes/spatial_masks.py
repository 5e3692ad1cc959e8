"""Foreground masks from a few channels of the image stream."""

from __future__ import annotations

from collections.abc import Iterable

import xarray as xr

from ditscope import checks
from ditscope.checks import Address
from ditscope.passes.latent_masks import Channels, ImageStates, make_masks
from ditscope.passes.mask_options import MaskOptions
from ditscope.passes.source import Source

__all__ = ["spatial_masks"]


def spatial_masks(
    source: Source,
    channels: Channels = "all",
    *,
    blocks: Address | Iterable[Address] | None = -1,
    steps: int | Iterable[int] | None = -1,
    branch: str = "cond",
    site: str = "block_output",
    options: MaskOptions = MaskOptions(),  # noqa: B008 (frozen)
) -> xr.Dataset:
    """Masks on the latent grid by K-means over the tokens of each image (arXiv 2605.13974, 3.2).

    Args:
        source: a cache or its ``hidden()`` array of the image stream.
        channels: a channel set (one per block, or per sample too, as the paper ranks), a list of
            channel ids, or ``all``.
        blocks: an index, a name such as ``single.5``, a kind such as ``single``, -1 for the last recorded, or
            several; None for all.
        steps: a scheduler step index, -1 for the last recorded, or several; None for all.
        branch: ``cond`` or ``uncond``.
        site: where in a block.
        options: clusters, scale, polarity and the rest. ``MaskOptions(components=12)`` clusters principal
            components of the channels.

    Returns:
        ``mask`` bool, ``heat`` (sum of the scaled channels) and ``cluster``, ``[(block,) (step,) (draw,)
        sample, y, x]``; ``foreground_share``, ``collapsed``, ``nonfinite_channels`` and ``saturated_channels``
        without ``y, x``. A block or step has no dimension where one index or name was passed. The figure is
        ``plots.mask_grid``.

    Raises:
        InputError: for an unknown block, step, branch or channel.

    Warns:
        UserWarning: channels with NaN or infinity are left out of a mask; those with values at the limit of the
            dtype they were computed in are used as they are.

    Examples:
        >>> masks = ds.passes.spatial_masks(cache, massive, blocks="single.5", steps=-1)
        >>> masks["mask"].dims
        ('sample', 'y', 'x')
    """
    states = ImageStates(source, blocks, steps, branch, site)
    masks = make_masks(states, {"masks": (channels, options)})["masks"]
    one_block = checks.is_whole(blocks) or (
        isinstance(blocks, str) and blocks in masks.coords.get("block_name", ())
    )
    asked = (("block", one_block), ("step", checks.is_whole(steps)), ("draw", masks.sizes["draw"] == 1))
    return masks.squeeze([dim for dim, single in asked if single]).assign_attrs(site=site, branch=branch)
