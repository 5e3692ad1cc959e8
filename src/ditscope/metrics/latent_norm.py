"""Size of the latents, which needs no decoding: for runs that stop early."""

from __future__ import annotations

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics.metric import metric

__all__ = ["latent_norm"]


@metric("latent norm (RMS)", damage="either")
def latent_norm(latents: np.ndarray) -> np.ndarray:
    """Root of the mean square of each sample's latents; noise of variance 1 has 1.

    Args:
        latents: float32 ``[sample, token, latent channel]``, as the sampler has them.

    Returns:
        float64 ``[sample]``.

    Raises:
        InputError: they have another shape.

    Examples:
        >>> ds.metrics.latent_norm(cache.trajectory["latents"].isel(step_boundary=-1).values).shape
        (4,)
    """
    values = np.asarray(latents, dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape:
        raise InputError(f"latents {values.shape}", "[sample, token, latent channel]", "Stack them.")
    return np.sqrt((values**2).mean((1, 2)))
