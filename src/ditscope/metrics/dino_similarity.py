"""Likeness of two images, by DINO."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics._pretrained import Pixels, opened
from ditscope.metrics.metric import metric

__all__ = ["dino_similarity"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@functools.cache
def _opened(model: str | Path, device: str | None) -> tuple[Any, Pixels]:
    from transformers import AutoConfig, AutoModel

    def load(source: str) -> tuple[Any, Pixels]:
        config: Any = AutoConfig.from_pretrained(source)
        if not config.model_type.startswith("dino") and config.model_type != "vit":
            raise ValueError(f"a {config.model_type}")
        network = AutoModel.from_pretrained(source, use_safetensors=True).eval().to(device or "cpu")
        return network, Pixels.of(source, config.image_size, IMAGENET_MEAN, IMAGENET_STD)

    return opened("DINO", "a Dinov2Model, a DINOv3ViTModel or DINO's ViTModel in safetensors", model, load)


@metric("DINO similarity (cos)", damage="lower", opens=_opened)
def dino_similarity(
    images: Any,
    reference: Any,
    *,
    model: str | Path = "facebook/dinov2-base",
    device: str | None = None,
    batch_size: int = 16,
) -> np.ndarray:
    """Cosine of the class tokens of paired images (as in Ruiz et al. 2023, section 4.2), by transformers.

    Published figures are of several networks: DreamBooth's of DINO's ViT-S/16, later ones of DINOv2. So the model is
    named beside a figure.

    Args:
        images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1.
        reference: the paired images.
        model: a folder or a hub id, such as ``facebook/dinov2-large`` or ``facebook/dino-vits8``; kept once it is open.
        device: where to run; None for the CPU.
        batch_size: images in each call of the network.

    Returns:
        float64 ``[image]``, -1 to 1; 1 for equal images.

    Raises:
        InputError: the model is not there, or there are not as many reference images.

    Examples:
        >>> metric = ds.metrics.METRICS["dino_similarity"].with_options(model="facebook/dinov2-large")  # for ds.compare
    """
    network, pixels = _opened(model, device)
    one, other = (_class_tokens(network, pixels, each, batch_size) for each in (images, reference))
    if one.shape != other.shape:
        raise InputError(
            f"{len(one)} images and {len(other)} reference images", "as many of each", "Pair them."
        )
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def _class_tokens(network: Any, pixels: Pixels, images: Any, batch_size: int) -> np.ndarray:
    """Float64 ``[image, feature]``, after the last norm."""
    import torch

    with torch.inference_mode():
        parts = [
            network(pixel_values=batch.to(network.device)).last_hidden_state[:, 0].double().cpu()
            for batch in pixels.batches(images, batch_size)
        ]
    return torch.cat(parts).numpy()
