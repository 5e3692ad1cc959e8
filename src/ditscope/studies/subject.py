"""Where the subject of an image is, for claims about masks: known on embedded models, given on others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ditscope.errors import InputError
from ditscope.passes.iou import iou
from ditscope.shapes.labels import foreground
from ditscope.shapes.reference import reference_mask
from ditscope.shapes.scenes import make_scene
from ditscope.studies.claim import Claim, Finding

if TYPE_CHECKING:
    from ditscope.cache.reader import Cache

__all__ = ["reference_finding", "reference_of"]

_SCENES = 24


def reference_of(claim: Claim, cache: Cache, given: str) -> xr.DataArray:
    """Reference masks of a recording's images, bool ``[sample, y_pixel, x_pixel]``.

    Args:
        claim: whose model made them.
        cache: the recording.
        given: for other models, a netCDF file of such masks with the coords ``prompt`` and ``seed``, as a segmentation
            network makes them of the recorded images; empty for none.

    Raises:
        InputError: there are none for the model, or for one of its images.
    """
    images = cache.images
    if claim.embedded:
        return foreground(images)
    if not given:
        raise InputError(
            f"no reference masks of the images of {claim.model}",
            "a file of masks, bool [sample, y_pixel, x_pixel] with the coords prompt and seed",
            f"Segment the images of {cache.path}, and pass --set reference=FILE.nc.",
        )
    masks = xr.load_dataarray(given).astype(bool)
    known = list(zip(masks["prompt"].values.astype(str), masks["seed"].values.tolist(), strict=True))
    wanted = list(zip(images["prompt"].values.astype(str), images["seed"].values.tolist(), strict=True))
    missing = [each for each in wanted if each not in known]
    if missing:
        raise InputError(f"no mask of {missing[0]} in {given}", "one of every image", "Segment them all.")
    chosen = masks.isel(sample=[known.index(each) for each in wanted])
    return chosen.drop_vars("sample", errors="ignore").assign_coords(sample=images["sample"].values)


def reference_finding(claim: Claim) -> Finding:
    """Whether reference masks can be trusted: of drawn scenes the true mask is known."""
    if not claim.embedded:
        return Finding("The reference masks are those that were given; nothing is known of them here.", None)
    scenes = [make_scene(seed) for seed in range(_SCENES)]
    found = np.stack([reference_mask(scene.image, scene.caption) for scene in scenes])
    mean = float(np.mean(iou(found, np.stack([scene.masks.any(0) for scene in scenes]))))
    return Finding(
        f"Reference masks follow from the caption's colours; of {_SCENES} drawn scenes, whose true masks are known, "
        f"their mean IoU is {mean:.2f}.",
        mean > 0.95,
    )
