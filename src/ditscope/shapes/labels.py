"""What captions and images of the shapes world say, as labels of samples and tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ditscope.errors import InputError
from ditscope.passes.score_masks import cell_counts
from ditscope.shapes.captions import parse_caption
from ditscope.shapes.reference import reference_mask


def caption_labels(prompts: Sequence[str] | xr.DataArray) -> xr.DataArray:
    """What captions of one object say, text ``[label, sample]``: shape, colour, size, place, background, texture.

    Args:
        prompts: captions, or a coord ``prompt`` along ``sample``, whose labels stay.

    Raises:
        InputError: a caption is not of the shapes world, or of two objects.
    """
    captions = [parse_caption(str(prompt)) for prompt in np.asarray(prompts)]
    for caption in captions:
        if len(caption.objects) != 1:
            raise InputError(f"{caption.caption!r}", "a caption of one object", "Leave it out.")
    said = [
        {**vars(caption.objects[0]), "background": caption.background, "texture": caption.texture}
        for caption in captions
    ]
    names = ("shape", "colour", "size", "place", "background", "texture")
    return xr.DataArray(
        [[each[name] for each in said] for name in names],
        dims=("label", "sample"),
        coords={"label": list(names)} | _sample(prompts),
    )


def caption_tokens(prompts: Sequence[str] | xr.DataArray, n_tokens: int) -> xr.DataArray:
    """Which tokens of captions name the object and which the background, bool ``[concept, sample, token]``.

    Of the FLUX.1 pipeline of the shapes world, whose T5 tokens are the words of the caption in their order. The
    object's are its colour and shape, the background's its texture and colour.

    Args:
        prompts: as of :func:`caption_labels`; of two objects both are the object's.
        n_tokens: of the text stream.

    Raises:
        InputError: a caption is not of the shapes world, or longer than the stream.
    """
    marked = np.zeros((2, len(prompts), n_tokens), bool)
    for sample, prompt in enumerate(map(str, np.asarray(prompts))):
        caption, words = parse_caption(prompt), prompt.split()
        if len(words) > n_tokens:
            raise InputError(
                f"{len(words)} words in {prompt!r}", f"at most {n_tokens}", "Pass the stream's tokens."
            )
        objects = {word for each in caption.objects for word in (each.colour, each.shape)}
        behind = words.index("on")
        for at, word in enumerate(words):
            named = objects if at < behind else {caption.texture, caption.background}
            marked[int(at > behind), sample, at] = word in named
    coords = {"concept": ["object", "background"]} | _sample(prompts)
    return xr.DataArray(marked, dims=("concept", "sample", "token"), coords=coords)


def foreground(images: xr.DataArray, grid: tuple[int, int] | None = None) -> xr.DataArray:
    """Where images show their captions' objects: :func:`ditscope.shapes.reference_mask` of each.

    Args:
        images: uint8 ``[sample, y_pixel, x_pixel, rgb]`` with the coord ``prompt``, as ``cache.images``.
        grid: (height, width) in tokens; a token is foreground if more than half of its pixels are. None for pixels.

    Returns:
        bool ``[sample, y_pixel, x_pixel]``, or ``[sample, y, x]`` of a grid.

    Raises:
        InputError: as of ``reference_mask``.
    """
    pairs = zip(images.values, images["prompt"].values, strict=True)
    masks = np.stack([reference_mask(image, str(prompt)) for image, prompt in pairs])
    coords = {name: c for name, c in images.coords.items() if c.dims == ("sample",)}
    if grid is None:
        return xr.DataArray(masks, dims=("sample", "y_pixel", "x_pixel"), coords=coords)
    covered, pixels = cell_counts(masks, *grid)
    return xr.DataArray(covered > pixels / 2, dims=("sample", "y", "x"), coords=coords)


def _sample(prompts: Sequence[str] | xr.DataArray) -> dict[str, xr.DataArray]:
    """The coord ``sample`` where prompts have it."""
    return (
        {"sample": prompts["sample"]}
        if isinstance(prompts, xr.DataArray) and "sample" in prompts.coords
        else {}
    )
