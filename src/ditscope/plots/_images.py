"""What figures need to know of an array of images: its dims, and its pixels."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope.errors import InputError

_DIMS = (("y_pixel", "x_pixel", "rgb"), ("y", "x", "rgb"))


def image_dims(array: xr.DataArray) -> tuple[str, str, str]:
    """The names of an image array's (y, x, rgb) dims.

    Raises:
        InputError: the array is none of images.
    """
    if isinstance(array, xr.DataArray):
        for names in _DIMS:
            if set(names) <= set(array.dims):
                if array.sizes["rgb"] != 3:
                    raise InputError(f"{array.sizes['rgb']} colours", "3 (rgb)", "Drop the alpha channel.")
                return names
        found = f"dims [{', '.join(map(str, array.dims))}]"
    else:
        found = type(array).__name__
    raise InputError(
        found, "a DataArray of images with dims [..., y_pixel, x_pixel, rgb]", "Label the images' dims."
    )


def as_pixels(images: xr.DataArray) -> np.ndarray:
    """uint8 as it is; whole numbers from 0 to 255, as netCDF keeps them; floats from 0 to 1 rounded to uint8.

    Raises:
        InputError: numbers outside 0 to 255, floats outside 0 to 1, or not finite.
    """
    raw = images.values
    if raw.dtype.kind in "iu" and raw.min(initial=0) >= 0 and raw.max(initial=0) <= 255:
        return raw.astype(np.uint8, copy=False)
    numbers = raw.astype(np.float64)
    if not np.isfinite(numbers).all() or numbers.min() < -1e-6 or numbers.max() > 1 + 1e-6:
        raise InputError(
            f"image values from {np.nanmin(numbers):.3g} to {np.nanmax(numbers):.3g}",
            "uint8, or floats from 0 to 1",
            "Rescale the images.",
        )
    return np.rint(numbers * 255).clip(0, 255).astype(np.uint8)
