"""A sample: its prompt, its seed and the image that was made."""

from __future__ import annotations

import numpy as np

from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.reading import opened_as, require_sample
from ditscope.explorer.view import view

__all__ = ["sample"]


@view
def sample(cache: Cache, sample: int) -> Payload:
    """Prompt and seed, and ``image``, uint8 ``[y_pixel, x_pixel, rgb]``, where images were recorded."""
    require_sample(cache, sample)
    spec = cache.specs[sample]
    arrays = {}
    if "images" in cache.plans:
        arrays["image"] = np.asarray(cache.images.sel(sample=sample))
    code = f"{opened_as(cache)}\nimage = cache.images.sel(sample={sample})"
    return Payload({"prompt": spec.prompt, "seed": str(spec.seed), "code": code}, arrays)
