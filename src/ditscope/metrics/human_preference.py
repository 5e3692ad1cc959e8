"""Which image people would prefer for a prompt, by CLIPs that were trained on their choices."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import metric

__all__ = ["hpsv2", "pickscore"]


@functools.cache
def _opened(model: str | Path, revision: str, device: str | None) -> ClipScorer:
    return ClipScorer.from_pretrained(model, device=device, revision=revision)


@metric("HPSv2 (100 cos)", damage="lower", opens=_opened)
def hpsv2(
    images: Any,
    prompts: Sequence[str],
    *,
    model: str | Path = "adams-story/HPSv2-hf",
    revision: str = "main",
    device: str | None = None,
) -> np.ndarray:
    """Human Preference Score v2 (Wu et al. 2023): 100 cos of a CLIP that was trained on choices of people.

    Published figures are of version 2 or 2.1, which are different weights on one scale: name which. The hub has
    version 2 as a CLIPModel; version 2.1 was published for open_clip, and has to be converted to one.

    Args:
        images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1.
        prompts: one for each image.
        model: a folder or hub id of a CLIPModel in safetensors, with its tokenizer; kept once it is open.
        revision: of the hub's repository, where safetensors are in another than the main one.
        device: where to run; None for the CPU.

    Returns:
        float64 ``[image]``.

    Raises:
        InputError: the model is not there, or there is not one prompt for each image.

    Examples:
        >>> metric = ds.metrics.METRICS["hpsv2"].with_options(device="cuda")  # for ds.compare
    """
    return _opened(model, revision, device).score(images, prompts)


@metric("PickScore", damage="lower", opens=_opened)
def pickscore(
    images: Any,
    prompts: Sequence[str],
    *,
    model: str | Path = "yuvalkirstain/PickScore_v1",
    revision: str = "main",
    device: str | None = None,
) -> np.ndarray:
    """PickScore (Kirstain et al. 2023): the cosine times the CLIP's own scale, near 100; arguments as :func:`hpsv2`.

    Examples:
        >>> metric = ds.metrics.METRICS["pickscore"].with_options(device="cuda")  # for ds.compare
    """
    scorer = _opened(model, revision, device)
    scale: float = scorer.model.logit_scale.detach().double().exp().item()
    return scale * scorer.score(images, prompts) / 100
