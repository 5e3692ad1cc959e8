"""A real image as a pipeline's own latents, clean or with noise, in the form of its argument ``latents=``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor

from ditscope.errors import InputError, UnsupportedError
from ditscope.models.pipeline_call import call_parameters
from ditscope.tracing.probe import Probe
from ditscope.tracing.seeds import generators_of

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def require_image_latents(dit: DiT) -> None:
    """Refuse a pipeline of which it is not known how an image becomes latents, and what noise is added to them.

    Raises:
        UnsupportedError: it takes images itself; it has another autoencoder than ``AutoencoderKL``, or another sampler
            than flow matching by Euler.
    """
    pipeline = dit.diffusers_pipeline
    kind, parameters = type(pipeline).__name__, call_parameters(type(pipeline))
    if "latents" not in parameters or any(name.endswith("image") for name in parameters if "ip_" not in name):
        raise UnsupportedError(
            f"capture_image on {kind}, which takes images itself",
            "a pipeline from text to image that takes latents=",
            "Pass method='reference' for the tokens of a reference image, or image= to ds.capture for those of the "
            "image that is generated from it.",
        )
    for what, part, known in (
        ("autoencoder", pipeline.vae, AutoencoderKL),
        ("sampler", pipeline.scheduler, FlowMatchEulerDiscreteScheduler),
    ):
        if not isinstance(part, known):
            raise UnsupportedError(
                f"capture_image with the {what} {type(part).__name__} of {kind}",
                known.__name__,
                "Add the noise by hand, and pass latents= and a callback to ds.capture.",
            )


def image_latents(dit: DiT, image: Any, probe: Probe) -> torch.Tensor:
    """The latents of an image: the mean of what the autoencoder encodes, ``[1, channel, y, x]`` in the model's dtype.

    Args:
        dit: the model, after the probe.
        image: a PIL image, or uint8 ``[y_pixel, x_pixel, rgb]``.
        probe: of the call.

    Raises:
        InputError: it is no such image, or not of the run's size.
        UnsupportedError: the transformer takes other channels than the latents'.
    """
    vae, taken = dit.diffusers_pipeline.vae, dit.run_state.inputs["hidden_states"]
    made = vae.config.latent_channels * (dit.family.token_pixels**2 if taken.ndim == 3 else 1)
    if made != taken.shape[-1 if taken.ndim == 3 else 1]:
        raise UnsupportedError(
            f"{made} channels of an image's latents and {tuple(taken.shape)} passed to the transformer",
            "the same channels",
            "Pictures and masks that are joined to the latents are not captured.",
        )
    pixels = pixels_of(image, probe.image_size)
    values = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(dit.device, vae.dtype) / 127.5 - 1
    with torch.no_grad():
        encoded = vae.encode(values).latent_dist.mode()
    shift = vae.config.shift_factor or 0.0
    return ((encoded - shift) * vae.config.scaling_factor).to(probe.dtype)


def pixels_of(image: Any, size: tuple[int, int] | None = None) -> np.ndarray[Any, Any]:
    """An image as uint8 ``[y_pixel, x_pixel, rgb]``.

    Args:
        image: a PIL image, or such an array.
        size: (height, width) that it must have, in pixels; None for any.

    Raises:
        InputError: it is no such image, or of another size.
    """
    pixels = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    expected = (*(pixels.shape[:2] if size is None else size), 3)
    if pixels.dtype != np.uint8 or pixels.shape != expected:
        raise InputError(
            f"an image {pixels.dtype} {pixels.shape}",
            f"uint8 {expected}, or a PIL image of that size",
            "Resize or crop it, or pass height= and width=.",
        )
    return pixels


def packed(dit: DiT, latents: torch.Tensor) -> torch.Tensor:
    """Latents ``[row, channel, y, x]`` as the pipeline's argument ``latents=`` has them: as they are, or as tokens."""
    if dit.run_state.inputs["hidden_states"].ndim == 4:
        return latents
    rows, channels, height, width = latents.shape
    edge = dit.family.token_pixels
    patches = latents.reshape(rows, channels, height // edge, edge, width // edge, edge)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(rows, -1, channels * edge**2)


def noise(dit: DiT, seeds: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """The noise that the pipeline would begin with for each seed, ``[seed, channel, y, x]``."""
    return torch.cat(
        [
            randn_tensor(like.shape, made, like.device, like.dtype)
            for made in generators_of(dit.diffusers_pipeline, list(seeds))
        ]
    )


def noised(clean: torch.Tensor, eps: torch.Tensor, sigma: float) -> torch.Tensor:
    """``(1 - sigma) * clean + sigma * eps``, as the sampler adds noise."""
    level = torch.tensor(sigma, dtype=clean.dtype, device=clean.device)
    return level * eps + (1.0 - level) * clean
