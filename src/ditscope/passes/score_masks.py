"""Score masks on the latent grid against reference masks of the images."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError
from ditscope.passes.iou import ratio

__all__ = ["score_masks"]


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

    Raises:
        InputError: an unknown ``resize``, or a reference that does not fit the masks.

    Examples:
        >>> masks = ds.passes.spatial_masks(cache, massive, blocks="single.5")
        >>> ds.passes.score_masks(masks, ds.shapes.foreground(cache.images))["iou"].dims
        ('sample',)
    """
    checks.name_of("resize", resize, ("mask", "reference"))
    mask = masks["mask"].transpose(..., "sample", "y", "x")
    values = align_reference(reference, masks["sample"])
    covered, pixels = cell_counts(values, mask.sizes["y"], mask.sizes["x"])
    if resize == "reference":
        covered, pixels = (covered > pixels / 2).astype(float), np.ones_like(pixels)
    chosen = mask.values
    own, other = _overlap(chosen, covered, pixels), _overlap(~chosen, covered, pixels)
    each = mask.isel(y=0, x=0, drop=True)
    share = np.broadcast_to(covered.sum((-2, -1)) / pixels.sum(), own.shape)
    result = xr.Dataset(
        {
            "iou": each.copy(data=own),
            "iou_oracle": each.copy(data=np.fmax(own, other)),
            "polarity_right": each.copy(data=own >= np.nan_to_num(other)),
            "foreground_share": each.copy(data=chosen.mean((-2, -1))),
            "reference_share": each.copy(data=share.copy()),
        },
        attrs=masks.attrs | {"resize": resize},
    )
    if "collapsed" in masks:
        result["collapsed"] = masks["collapsed"]
    return result


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


def _overlap(mask: np.ndarray, covered: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """IoU in pixels of masks ``[..., sample, y, x]`` on the latent grid, from counts per cell."""
    axes = (-2, -1)
    inside = (mask * covered).sum(axes)
    return ratio(inside, (mask * pixels).sum(axes) + covered.sum(axes) - inside)


def _membership(pixels: int, cells: int) -> np.ndarray:
    """Which cell a pixel's centre lies in, one-hot ``[pixel, cell]``."""
    cell = ((np.arange(pixels) + 0.5) * cells / pixels).astype(int)
    return np.eye(cells)[cell]
