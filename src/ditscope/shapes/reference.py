"""Reference masks of images of the shapes world, from the two colours that the caption names."""

from __future__ import annotations

import numpy as np

from ditscope.errors import InputError
from ditscope.shapes.captions import COLOURS, parse_caption
from ditscope.shapes.scenes import MID_GREY, TEXTURE_DEPTH


def reference_mask(image: np.ndarray, caption: str) -> np.ndarray:
    """Where the image shows the caption's objects rather than its background.

    A pixel belongs to the foreground when its colour is nearer to an object's colour than to the
    background's, where the background may lie anywhere between its colour and its texture's darkest
    part. No pixel's position enters, so the mask follows the image and not the caption's place.

    Args:
        image: uint8 ``[y, x, rgb]``, real or generated.
        caption: a caption of the shapes world.

    Returns:
        bool ``[y, x]``.

    Raises:
        InputError: the caption is not of the shapes world, or the image is not uint8 ``[y, x, rgb]``.
    """
    return _foreground(image, caption)[0]


def reference_masks(image: np.ndarray, caption: str) -> np.ndarray:
    """The mask of each object that the caption names, in its order: :func:`reference_mask` cut up by nearest colour.

    Args:
        image: as for :func:`reference_mask`.
        caption: likewise; ``parse_caption(caption).objects`` says what each mask is of. At the edge of one object
            pixels blend into the background, and may come out nearest to the other's colour.

    Returns:
        bool ``[object, y, x]``, no pixel of two objects.

    Raises:
        InputError: as of :func:`reference_mask`, or two objects have one colour.
    """
    objects = parse_caption(caption).objects
    if len({words.colour for words in objects}) < len(objects):
        raise InputError(
            f"objects of one colour in {caption!r}",
            "a colour for each",
            "Name objects of different colours: masks follow from colours alone.",
        )
    mask, owner = _foreground(image, caption)
    return mask & (owner == np.arange(len(objects))[:, None, None])


def _foreground(image: np.ndarray, caption: str) -> tuple[np.ndarray, np.ndarray]:
    """Foreground bool ``[y, x]``, and the number of the object that is nearest in colour."""
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise InputError(
            f"an image {pixels.dtype} {pixels.shape}", "uint8 [y, x, rgb]", "Pass one image as bytes."
        )
    attributes = parse_caption(caption)
    values = pixels.astype(np.float64)
    plain = np.asarray(COLOURS[attributes.background], dtype=np.float64)
    darkest = plain if attributes.texture == "plain" else plain + TEXTURE_DEPTH * (MID_GREY - plain)
    objects = [np.asarray(COLOURS[words.colour], dtype=np.float64) for words in attributes.objects]
    mask, owner, nearest = _nearest(values, objects, plain, darkest)
    # Tints differ a little from the named colours; one look at the image settles them.
    for number in range(len(objects)):
        own = values[mask & (owner == number)]
        objects[number] = np.median(own, axis=0) if len(own) else objects[number]
    if (~mask).any():
        offset = np.median((values - nearest)[~mask], axis=0)
        plain, darkest = plain + offset, darkest + offset
    mask, owner, _ = _nearest(values, objects, plain, darkest)
    return mask, owner


def _nearest(values, objects, start, end) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Foreground bool ``[y, x]``, nearest object ``[y, x]``, nearest background colour ``[y, x, rgb]``."""
    along = end - start
    length = float(along @ along)
    share = np.clip((values - start) @ along / length, 0.0, 1.0) if length else np.zeros(values.shape[:-1])
    background = start + share[..., None] * along
    to_objects = np.stack([np.linalg.norm(values - colour, axis=-1) for colour in objects])
    to_background = np.linalg.norm(values - background, axis=-1)
    return to_objects.min(axis=0) < to_background, to_objects.argmin(axis=0), background
