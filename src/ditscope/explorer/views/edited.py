"""An image without and with an edit."""

from __future__ import annotations

import numpy as np

from ditscope.explorer.payload import Payload
from ditscope.explorer.stores import Comparison
from ditscope.explorer.view import view

__all__ = ["edited"]


@view
def edited(comparison: Comparison, cell: tuple[int, ...], edit: int, draw: int, sample: int) -> Payload:
    """``baseline`` and ``edited``, uint8 ``[y_pixel, x_pixel, rgb]``, where images were kept; what metrics say of it.

    ``cell`` has a position for each dimension of the grid. ``ran`` is false where this run is missing.
    """
    place = comparison.place(cell) | {"edit": edit, "draw": draw, "sample": sample}
    result = comparison.checked(place)
    arrays = {}
    if "images" in result:
        arrays = {
            "baseline": result["baseline_images"].isel(sample=sample).values,
            "edited": result["images"].isel(place).values,
        }
    code = f"{comparison.code}\nedited = result['images'].isel({_said(place)})\n"
    code += f"baseline = result['baseline_images'].isel(sample={sample})\n"
    code += "difference = abs(edited.astype(int) - baseline.astype(int)).mean('rgb')"
    value, own = (result[name].isel(place).values.tolist() for name in ("value", "effect"))
    return Payload(
        {
            "prompt": str(result["prompt"].values[sample]),
            "seed": str(result["seed"].values[sample]),
            "ran": bool(result["fired"].isel({k: v for k, v in place.items() if k != "sample"}) > 0),
            "value": value,
            "effect": own,
            "baseline_value": result["baseline_value"].isel(sample=sample).values.tolist(),
            "code": code if "images" in result else "",
        },
        {name: array.astype(np.uint8) for name, array in arrays.items()},
    )


def _said(place: dict[str, int]) -> str:
    return ", ".join(f"{name}={position}" for name, position in place.items())
