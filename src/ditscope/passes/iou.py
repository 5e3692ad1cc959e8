"""How much two masks overlap."""

from __future__ import annotations

import numpy as np

from ditscope.errors import InputError

__all__ = ["iou"]


def iou(mask: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Intersection over union of masks on the same grid.

    Args:
        mask: bool ``[..., y, x]``.
        reference: bool ``[..., y, x]``, broadcast against ``mask``.

    Returns:
        ``[...]`` from 0 to 1; NaN where both masks are empty.

    Examples:
        >>> ds.passes.iou(np.array([[True, False]]), np.array([[True, True]])).item()
        0.5
    """
    mask, reference = np.asarray(mask), np.asarray(reference)
    if mask.dtype != bool or reference.dtype != bool or mask.shape[-2:] != reference.shape[-2:]:
        raise InputError(
            f"{mask.dtype} {mask.shape} and {reference.dtype} {reference.shape}",
            "two bool masks [..., y, x] of one size",
            "Threshold and resize them first.",
        )
    return ratio((mask & reference).sum((-2, -1)), (mask | reference).sum((-2, -1)))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where ``whole`` is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
