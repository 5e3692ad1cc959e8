"""What of its caption an image of the shapes world shows, by the oracle."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics._images import stacked
from ditscope.metrics.metric import Metric, register

if TYPE_CHECKING:
    from ditscope.shapes.oracle import Oracle

__all__ = ["shapes_attributes"]

ATTRIBUTES = ("shape", "colour", "size", "place", "background", "texture")


@functools.cache
def _oracle() -> Oracle:
    from ditscope.models.embedded import embedded_folder
    from ditscope.shapes.oracle import load_oracle

    return load_oracle(embedded_folder())


def _labels(prompts: Sequence[str]) -> np.ndarray:
    from ditscope.shapes.captions import parse_caption
    from ditscope.shapes.oracle import attribute_labels

    captions = [parse_caption(prompt) for prompt in prompts]
    several = next((each for each in captions if len(each.objects) > 1), None)
    if several is not None:
        raise InputError(
            f"{len(several.objects)} objects in {several.caption!r}",
            "captions of one object, whose attributes these are",
            "Leave the others out, or ask the oracle itself, which answers about both.",
        )
    return np.array([attribute_labels(each)[: len(ATTRIBUTES)] for each in captions])


def _opened(prompts: Sequence[str]) -> None:
    """Refuse what is no caption of one object before a run."""
    _oracle()
    _labels(prompts)


def shapes_attributes(images: Any, prompts: Sequence[str]) -> dict[str, np.ndarray]:
    """Whether each attribute is as the caption says, for each image, by the embedded oracle.

    In a comparison, each attribute is a metric of its own: ``shape_right``, ``colour_right``, ``size_right``,
    ``place_right``, ``background_right``, ``texture_right``. What an edit moved is the attributes whose share of right
    answers fell; with the target's captions as ``prompts``, what it brought.

    Args:
        images: uint8 ``[image, y, x, rgb]`` of 64 x 64 pixels.
        prompts: a caption of one object of the shapes world for each.

    Returns:
        Attribute -> bool ``[image]``.

    Raises:
        InputError: other images, or what is no such caption.

    Examples:
        >>> ds.metrics.shapes_attributes(cache.images.values, prompts)["colour"].shape
        (4,)
    """
    images, prompts = stacked(images), checks.prompts(prompts)
    if len(prompts) != len(images):
        raise InputError(
            f"{len(images)} images and {len(prompts)} prompts", "one prompt per image", "Pair them."
        )
    right = _oracle().answers(images)[:, : len(ATTRIBUTES)] == _labels(prompts)
    return dict(zip(ATTRIBUTES, right.T, strict=True))


@dataclass(frozen=True)
class _Right:
    attribute: str

    def __call__(self, images: Any, prompts: Sequence[str]) -> np.ndarray:
        return shapes_attributes(images, prompts)[self.attribute]


for _name in ATTRIBUTES:
    register(
        Metric(
            f"{_name}_right",
            f"{_name} as the caption says",
            _Right(_name),
            damage="lower",
            binary=True,
            opens=_opened,
        )
    )
