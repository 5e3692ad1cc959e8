"""Agreement of an image with a text that is not its prompt, by CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.metrics.metric import Metric

__all__ = ["clip_to"]


def clip_to(prompts: str | Sequence[str], *, name: str = "clip_to", label: str | None = None) -> Metric:
    """A metric: ``100 cos`` of the CLIP features of each image and a given text, such as the source's prompt.

    Args:
        prompts: one text for all images, or one for each sample.
        name: of the metric.
        label: what to write on an axis; by default with the text.

    Raises:
        InputError: no text. Before a comparison, or when it is computed: another number of texts than of samples.

    Examples:
        >>> red = ds.metrics.clip_to("a red circle", name="clip_to_red")
        >>> result = ds.compare(dit, prompts[0], 0, ds.edits.zero(massive), [red], num_inference_steps=2)
    """
    texts = checks.prompts(prompts)

    def fit(prompts: Sequence[str]) -> None:
        if len(texts) not in (1, len(prompts)):
            raise InputError(
                f"{len(texts)} texts for {len(prompts)} images", "one for all or for each", "Pass as many."
            )

    def compute(images: Any, scorer: ClipScorer, positions: Sequence[int]) -> np.ndarray:
        if len(texts) == 1:
            return scorer.score(images, texts * len(images))
        return scorer.score(images, [texts[position] for position in positions])

    said = f"CLIP score to {texts[0]!r}" if len(texts) == 1 else "CLIP score to given texts"
    return Metric(name, label or said, compute, opens=fit, made_of=repr(texts))
