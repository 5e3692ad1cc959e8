"""How pleasing an image is by itself, by LAION's predictor."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from ditscope.errors import InputError
from ditscope.metrics._pretrained import opened, weights
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import metric

__all__ = ["aesthetic_score"]

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(weight|bias)$")


def linear_layers(tensors: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias in float64 of each ``layers.N``, in order: a head without activations between its layers."""
    found: dict[int, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        if match := _LAYER.search(name):
            found.setdefault(int(match[1]), {})[match[2]] = tensor.double().numpy()
    if not found:
        raise ValueError("no tensors layers.N.weight")
    return [(found[number]["weight"], found[number]["bias"]) for number in sorted(found)]


def through(layers: list[tuple[np.ndarray, np.ndarray]], features: np.ndarray) -> np.ndarray:
    """``[row, feature]`` through linear layers, the last of which has one output: ``[row]``."""
    for weight, bias in layers:
        features = features @ weight.T + bias
    return features[:, 0]


@functools.cache
def _opened(model: str | Path, clip: str | Path, device: str | None) -> Any:
    head = opened(
        "aesthetic predictor",
        "its head in model.safetensors",
        model,
        lambda source: linear_layers(weights(source)),
    )
    scorer = ClipScorer.from_pretrained(clip, device=device)
    width = scorer.model.config.projection_dim
    if head[0][0].shape[1] != width:
        raise InputError(
            f"a CLIP with {width} features",
            f"the {head[0][0].shape[1]} that the head of {str(model)!r} takes",
            "Pass clip= the CLIP that the head was trained on.",
        )
    return head, scorer


@metric("LAION aesthetic score", damage="lower", opens=_opened)
def aesthetic_score(
    images: Any,
    *,
    model: str | Path = "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
    clip: str | Path = "openai/clip-vit-large-patch14",
    device: str | None = None,
) -> np.ndarray:
    """LAION's aesthetic predictor, version 2 (Schuhmann et al. 2022): linear layers on CLIP's image features.

    Args:
        images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1.
        model: a folder or hub id with the head's ``layers.N`` in ``model.safetensors``; kept once it is open.
        clip: the CLIP whose features the head takes, at unit length.
        device: where to run the CLIP; None for the CPU.

    Returns:
        float64 ``[image]``, about 1 to 10.

    Raises:
        InputError: a model is not there, or the two do not fit.

    Examples:
        >>> metric = ds.metrics.METRICS["aesthetic_score"].with_options(device="cuda")  # for ds.compare
    """
    head, scorer = _opened(model, clip, device)
    return through(head, scorer.image_features(images).astype(np.float64))
