"""How well the embedded pipeline draws what its captions say, judged by the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ditscope.intervals import wilson_interval
from ditscope.shapes.captions import parse_caption
from ditscope.shapes.oracle import (
    ATTRIBUTE_VALUES,
    OBJECT_VALUES,
    OPEN,
    QUESTIONS,
    Oracle,
    attribute_labels,
)
from ditscope.shapes.scenes import make_scenes
from ditscope.tracing.run import run_traced
from ditscope.tracing.samples import pair_samples

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def draw_images(
    dit: DiT, prompts: Sequence[str], *, seed: int = 0, batch_size: int = 16, **call: Any
) -> np.ndarray:
    """One image for each prompt, uint8 ``[prompt, y, x, rgb]``; the n-th has seed ``seed + n``."""
    samples = [pair_samples([prompt], [seed + number])[0] for number, prompt in enumerate(prompts)]
    batches = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
    return np.concatenate(
        [run_traced(dit, batch, **call).images for batch in tqdm(batches, desc="quality", disable=None)]
    )


def judge(oracle: Oracle, images: np.ndarray, captions: Sequence[str]) -> pd.DataFrame:
    """Share of images whose attributes the oracle finds as the caption says, with Wilson intervals at 95 %.

    Args:
        oracle: the classifier.
        images: uint8 ``[image, y, x, rgb]``.
        captions: captions of the shapes world, of one object or two.

    Returns:
        One row for each attribute, right where it is right of every object; one for ``count``, the number of objects;
        for ``colours`` (objects and background right), ``objects`` (their number and all that is said of each) and
        ``all``: ``right``, ``low``, ``high``, ``images``.

    Raises:
        InputError: a caption of other scenes than the oracle answers about.
    """
    expected = np.array([attribute_labels(parse_caption(caption)) for caption in captions])
    found = (oracle.answers(images) == expected) | (expected == OPEN)
    by_question = pd.DataFrame(found, columns=list(QUESTIONS))
    right = by_question[[*ATTRIBUTE_VALUES, "count"]].copy()
    for name in OBJECT_VALUES:
        right[name] &= by_question[f"second_{name}"]
    right["colours"] = right["colour"] & right["background"]
    right["objects"] = right[[*OBJECT_VALUES, "count"]].all(axis=1)
    right["all"] = right[["objects", "background", "texture"]].all(axis=1)
    return wilson_table(right)


def wilson_table(right: pd.DataFrame) -> pd.DataFrame:
    """Share of true entries in each column with its Wilson interval."""
    interval = wilson_interval(right.sum().to_numpy(), len(right))
    return pd.DataFrame(
        {"right": interval.mean, "low": interval.low, "high": interval.high, "images": len(right)},
        index=right.columns,
    )


def judge_oracle(
    oracle: Oracle, *, count: int = 2000, seed: int = 10_000, n_objects: int = 1
) -> pd.DataFrame:
    """The oracle's own accuracy on real scenes that it was not trained on, in the form of :func:`judge`."""
    scenes = list(make_scenes(count, seed, n_objects=n_objects))
    return judge(oracle, np.stack([scene.image for scene in scenes]), [scene.caption for scene in scenes])
