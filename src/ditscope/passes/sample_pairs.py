"""Samples with one another: which pairs are compared, and the interval of a mean over pairs.

Prompts that the text encoders cut to the same tokens are one prompt here: they agree whatever the model does.
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from ditscope._display import quoted
from ditscope.errors import InputError
from ditscope.intervals import cluster_codes


def sample_pairs(profiles: xr.Dataset, name: str) -> np.ndarray:
    """Which pairs of samples are compared, each once: bool ``[sample, sample]``."""
    count = profiles.sizes["sample"]
    once = np.triu(np.ones((count, count), dtype=bool), 1)
    missing = [label for label in ("prompt", "seed") if label not in profiles.coords]
    if missing and name == "sample":
        return once
    if missing:
        raise InputError(
            f"samples without a {missing[0]} coordinate",
            "prompt and seed of every sample",
            "Pass the cache itself.",
        )
    same_prompt, same_seed = (
        labels[:, None] == labels for labels in map(np.asarray, (encoded_texts(profiles), profiles["seed"]))
    )
    if name == "sample":
        prompts = profiles["prompt"].values
        chosen = once & ~(same_prompt & same_seed & (prompts[:, None] != prompts))
    elif name == "seed":
        chosen = once & same_prompt & ~same_seed
    else:
        chosen = once & ~same_prompt & same_seed
        chosen = chosen if chosen.any() else once & ~same_prompt
    if not chosen.any():
        other = {"seed": "two seeds of one prompt", "prompt": "two prompts"}.get(name, "two prompts or seeds")
        raise InputError(f"no pair of samples that differ in {name}", other, "Record more samples.")
    return chosen


def encoded_texts(profiles: xr.Dataset) -> np.ndarray | None:
    """What each sample's text encoders were given; its prompt where that is not known. None without prompts."""
    if "prompt" not in profiles.coords or "sample" not in profiles["prompt"].dims:
        return None
    prompts, encoded = profiles["prompt"].values, profiles.coords.get("encoded_text")
    return prompts if encoded is None else np.where(encoded.values == "", prompts, encoded.values)


def encoded_alike(profiles: xr.Dataset) -> int:
    """The number of prompts that were cut to the tokens of another, with a warning that names some."""
    texts = encoded_texts(profiles)
    if texts is None:
        return 0
    first: dict[str, str] = {}
    pairs = dict.fromkeys(zip(texts, profiles["prompt"].values, strict=True))
    alike = [prompt for text, prompt in pairs if first.setdefault(text, prompt) != prompt]
    if alike:
        warnings.warn(
            f"{len(alike)} prompts were cut to the tokens of another prompt, and are taken for it: "
            f"{quoted(alike)}.",
            stacklevel=3,
        )
    return len(alike)


def prompt_clusters(profiles: xr.Dataset) -> tuple[np.ndarray | None, np.ndarray]:
    """Labels to draw by, and their codes: prompts, or samples where there is only one prompt."""
    count = profiles.sizes["sample"]
    labels = encoded_texts(profiles)
    if labels is not None:
        codes = cluster_codes(labels, count)
        if codes.max() > 0:
            return labels, codes
    return None, np.arange(count)


def pair_interval(
    matrices: np.ndarray, pairs: np.ndarray, codes: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over pairs of ``matrices [measure, item, item]``, with bounds that leave one cluster out in turn."""
    member = np.eye(codes.max() + 1)[codes]
    known = pairs & ~np.isnan(matrices)
    sums = [member.T @ part @ member for part in (np.where(known, matrices, 0.0), known.astype(float))]
    # What a cluster brings: its pairs with the others, and those inside it, once.
    own = [part.sum(-1) + part.sum(-2) - np.diagonal(part, axis1=-2, axis2=-1) for part in sums]
    total, count = (part.sum((-2, -1)) for part in sums)
    clusters = (own[1] > 0).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        left_out = (total[:, None] - own[0]) / (count[:, None] - own[1])
        variance = (clusters - 1) / clusters * ((left_out - mean[:, None]) ** 2).sum(-1)
    half = stdtrit(clusters - 1.0, (1 + level) / 2) * np.sqrt(variance)
    return mean, mean - half, mean + half
