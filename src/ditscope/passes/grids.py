"""Masks on two grids: the latent grid of a DiT and the pixels of its image."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope.errors import InputError


def iou(mask: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Intersection over union of masks on the same grid.

    Args:
        mask: bool ``[..., y, x]``.
        reference: bool ``[..., y, x]``, broadcast against ``mask``.

    Returns:
        ``[...]`` from 0 to 1; NaN where both masks are empty.
    """
    mask, reference = np.asarray(mask), np.asarray(reference)
    if mask.dtype != bool or reference.dtype != bool or mask.shape[-2:] != reference.shape[-2:]:
        raise InputError(
            f"{mask.dtype} {mask.shape} and {reference.dtype} {reference.shape}",
            "two bool masks [..., y, x] of one size",
            "Threshold and resize them first.",
        )
    return ratio((mask & reference).sum((-2, -1)), (mask | reference).sum((-2, -1)))


def cell_counts(reference: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Count each latent cell's pixels, and those that the reference covers.

    A pixel belongs to the cell that nearest-neighbour upsampling would copy to it, so overlaps with an
    upsampled mask follow from these counts without upsampling anything.

    Args:
        reference: bool ``[..., y_pixel, x_pixel]``.
        height: rows of the latent grid.
        width: columns of the latent grid.

    Returns:
        Covered pixels ``[..., y, x]`` and all pixels ``[y, x]``.
    """
    rows, columns = reference.shape[-2:]
    if rows < height or columns < width:
        raise InputError(
            f"a reference of {rows} x {columns} pixels",
            f"at least the latent grid's {height} x {width}",
            "Pass the mask of the image, in pixels.",
        )
    down, across = _membership(rows, height), _membership(columns, width)
    covered = down.T @ reference.astype(np.float64) @ across
    return covered, np.outer(down.sum(0), across.sum(0))


def align_reference(reference: xr.DataArray | np.ndarray, samples: xr.DataArray) -> np.ndarray:
    """Reference masks ``[sample, y_pixel, x_pixel]`` in the order of ``samples``.

    Sample labels are matched where the reference has them, so that its order does not matter.
    """
    if isinstance(reference, xr.DataArray) and "sample" in reference.coords:
        labels = list(reference["sample"].values)
        missing = [label for label in samples.values if label not in labels]
        if missing:
            raise InputError(
                f"no reference for sample {missing[0]}", "a reference for every sample", "Add it."
            )
        reference = reference.isel(sample=[labels.index(label) for label in samples.values])
    values = np.asarray(reference)
    if values.dtype != bool or values.ndim != 3 or len(values) != samples.size:
        raise InputError(
            f"a reference of {values.dtype} {values.shape}",
            f"bool [sample, y_pixel, x_pixel] with {samples.size} samples",
            "Threshold it and pass one mask per sample.",
        )
    return values


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where ``whole`` is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _membership(pixels: int, cells: int) -> np.ndarray:
    """Which cell a pixel's centre lies in, one-hot ``[pixel, cell]``."""
    cell = ((np.arange(pixels) + 0.5) * cells / pixels).astype(int)
    return np.eye(cells)[cell]
