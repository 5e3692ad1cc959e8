"""The mask that a few channels make of one image, and its overlap with the reference where there is one."""

from __future__ import annotations

import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from ditscope.cache.reader import Cache
from ditscope.errors import InputError
from ditscope.explorer.payload import Payload
from ditscope.explorer.reading import opened_as, require_sample, states_at
from ditscope.explorer.view import Place, view
from ditscope.passes.score_masks import score_masks
from ditscope.passes.spatial_masks import spatial_masks
from ditscope.shapes.captions import parse_caption
from ditscope.shapes.reference import reference_mask
from ditscope.vocabulary import EMBEDDED_NAMES

__all__ = ["mask"]


@view
def mask(cache: Cache, at: Place, channels: tuple[int, ...]) -> Payload:
    """``mask`` uint8 ``[y, x]`` by K-means of these channels, as :func:`ditscope.passes.spatial_masks` makes it.

    Of the embedded world ``reference`` uint8 ``[y_pixel, x_pixel]`` too, with ``iou``, and ``iou_oracle``, that of
    the better of the mask and its complement.
    """
    require_sample(cache, at.sample)
    if at.stream != "image":
        raise InputError(f"a mask of the {at.stream} stream", "the image stream", "Choose the image stream.")
    # One thread: a wait for the others would take longer than the clustering of so few points.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always", UserWarning)
        found = spatial_masks(
            states_at(cache, at, channels),
            channels,
            blocks=at.block,
            steps=at.step,
            branch=at.branch,
            site=at.site,
        )
    ids = list(channels)
    code = (
        f"{opened_as(cache)}\nstates = cache.hidden('image', {at.site!r}, channels={ids}).sel(sample=[{at.sample}])\n"
        f"masks = ds.passes.spatial_masks(states, {ids}, blocks={at.block}, steps={at.step}, branch={at.branch!r}, "
        f"site={at.site!r})"
    )
    values = {
        "code": code,
        "share": float(found["foreground_share"].item()),
        "collapsed": bool(found["collapsed"].item()),
        "warnings": [str(each.message) for each in caught],
    }
    arrays = {"mask": found["mask"].isel(sample=0).values}
    reference = _reference(cache, at.sample)
    if reference is not None:
        scores = score_masks(found, reference[None])
        values |= {name: float(scores[name].item()) for name in ("iou", "iou_oracle")}
        arrays["reference"] = reference
    return Payload(values, arrays)


def _reference(cache: Cache, sample: int) -> np.ndarray | None:
    """The foreground bool ``[y_pixel, x_pixel]``; None but of the embedded world."""
    prompt = cache.specs[sample].prompt
    if cache.config.get("model") not in EMBEDDED_NAMES or "images" not in cache.plans:
        return None
    try:
        parse_caption(prompt)
    except InputError:
        return None
    return reference_mask(np.asarray(cache.images.sel(sample=sample)), prompt)
