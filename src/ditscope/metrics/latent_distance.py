"""How far the latents have moved: needs no decoding, and no steps after the edited ones."""

from __future__ import annotations

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics.metric import metric

__all__ = ["latent_distance"]


@metric("relative L2 distance of latents", damage="higher")
def latent_distance(latents: np.ndarray, reference_latents: np.ndarray) -> np.ndarray:
    """Norm of the difference from the reference, by the norm of the reference; 0 for equal latents.

    Args:
        latents: float32 ``[sample, token, latent channel]``, as the sampler has them after the last edited step.
        reference_latents: the unedited run's, after the same step.

    Returns:
        float64 ``[sample]``; NaN where the reference is 0.

    Raises:
        InputError: they have not one shape, or another one.

    Examples:
        >>> latents = cache.trajectory["latents"].values
        >>> ds.metrics.latent_distance(latents[:, -1], latents[:, 0]).shape
        (4,)
    """
    values, reference = (np.asarray(each, dtype=np.float64) for each in (latents, reference_latents))
    if values.shape != reference.shape or values.ndim != 3 or 0 in values.shape:
        raise InputError(
            f"latents {values.shape} beside {reference.shape}",
            "two of one shape, [sample, token, latent channel]",
            "Pass those of the same prompts and seeds, after the same step.",
        )
    squares = [(each**2).sum((1, 2)) for each in (values - reference, reference)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(squares[0] / squares[1])
