"""Whether the object stayed where it was: overlap of the foreground of paired images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics._images import stacked
from ditscope.metrics.metric import metric

__all__ = ["mask_iou"]

Masks: TypeAlias = Callable[[np.ndarray, Sequence[str]], np.ndarray]
"""From images ``[image, y, x, rgb]`` and their prompts to foreground masks, bool ``[image, y, x]``."""


def _of_shapes(images: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    from ditscope.shapes.reference import reference_mask

    return np.stack([reference_mask(image, prompt) for image, prompt in zip(images, prompts, strict=True)])


def _captions(prompts: Sequence[str], masks: Masks | None) -> None:
    """Refuse what is no caption of the shapes world, whose masks follow from its words."""
    from ditscope.shapes.captions import parse_caption

    for prompt in prompts if masks is None else ():
        parse_caption(prompt)


@metric("foreground IoU", damage="lower", opens=_captions)
def mask_iou(
    images: Any, reference: Any, prompts: Sequence[str], *, masks: Masks | None = None
) -> np.ndarray:
    """Intersection over union of the foreground of each image and of its reference image.

    Args:
        images: uint8 ``[image, y, x, rgb]``.
        reference: the paired images.
        prompts: one for each pair.
        masks: what finds the foreground, see :data:`Masks`; None for :func:`ditscope.shapes.reference_mask`, by the
            colours that a caption of the shapes world names.

    Returns:
        float64 ``[image]``, 0 to 1; NaN where neither image has a foreground.

    Raises:
        InputError: images that do not fit, or without ``masks`` a prompt that is no caption of the shapes world.

    Examples:
        >>> ds.metrics.mask_iou(result["images"].sel(edit="massive", draw=0).values, cache.images.values, prompts).shape
        (4,)
    """
    from ditscope.passes.iou import iou

    images, reference, prompts = stacked(images), stacked(reference), checks.prompts(prompts)
    if images.shape != reference.shape or len(prompts) != len(images):
        raise InputError(
            f"images {images.shape}, reference {reference.shape} and {len(prompts)} prompts",
            "arrays of one shape, and one prompt per pair",
            "Pair them.",
        )
    find = masks or _of_shapes
    return iou(find(images, prompts), find(reference, prompts))
