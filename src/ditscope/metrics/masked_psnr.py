"""Peak signal-to-noise ratio in a part of an image, such as outside of where something was moved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics._images import as_pair
from ditscope.metrics.metric import Metric

__all__ = ["masked_psnr"]


def masked_psnr(mask: Any, *, outside: bool = True, name: str = "masked_psnr") -> Metric:
    """A metric: PSNR over the pixels outside a mask, or inside it; with a target's mask, how much of it is preserved.

    It is infinite for equal pixels, and NaN where the part has none.

    Args:
        mask: bool ``[y, x]``, one for all images, or ``[sample, y, x]``, one for each; of pixels, or of cells of a grid
            that divides the image.
        outside: whether the pixels outside the mask count; else those inside.
        name: of the metric.

    Raises:
        InputError: it is no such mask. When the metric is computed: it fits neither the images' number nor their size.

    Examples:
        >>> masks = ds.passes.spatial_masks(cache, massive, blocks="single.5")
        >>> outside = ds.metrics.masked_psnr(masks["mask"].sel(sample=0))
        >>> kept = ds.compare(dit, prompts[0], 0, ds.edits.zero(massive), [outside], num_inference_steps=2)
    """
    where = np.asarray(mask)
    if where.dtype != bool or where.ndim not in (2, 3) or where.size == 0:
        raise InputError(
            f"a mask {where.dtype} {where.shape}",
            "bool [y, x] or [sample, y, x]",
            "Take one block's and one step's.",
        )
    counted = ~where if outside else where

    def fit(prompts: Sequence[str]) -> None:
        if where.ndim == 3 and len(where) not in (1, len(prompts)):
            raise InputError(
                f"masks of {len(where)} samples for {len(prompts)} images",
                "one mask for all, or one for each sample",
                "Make the masks of these samples.",
            )

    def compute(images: Any, reference: Any, positions: Sequence[int]) -> np.ndarray:
        one, other = as_pair(images, reference)
        own = counted[list(positions)] if where.ndim == 3 and len(where) > 1 else counted
        pixels = _of_pixels(own, one.shape[-3:-1], len(one))
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = np.where(pixels[..., None], (one - other) ** 2, 0).sum((-3, -2, -1))
            return -10 * np.log10(squares / (3 * pixels.sum((-2, -1))))

    label = f"PSNR {'outside' if outside else 'inside'} the mask"
    digest = hashlib.sha256(f"{where.shape}".encode() + counted.tobytes()).hexdigest()
    return Metric(name, label, compute, "dB", damage="lower", opens=fit, made_of=digest)


def _of_pixels(mask: np.ndarray, size: tuple[int, ...], n_images: int) -> np.ndarray:
    """The mask at an image's size, bool ``[image, y, x]``."""
    repeats = [edge // cells for edge, cells in zip(size, mask.shape[-2:], strict=True)]
    whole = mask.repeat(max(repeats[0], 1), axis=-2).repeat(max(repeats[1], 1), axis=-1)
    if whole.shape[-2:] != size:
        raise InputError(
            f"a mask of shape {mask.shape} for images of {size[0]} x {size[1]} pixels",
            "one of a grid that divides their size",
            "Make the masks of these samples.",
        )
    return np.broadcast_to(whole, (n_images, *size))
