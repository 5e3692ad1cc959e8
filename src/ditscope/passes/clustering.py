"""From the channels of one image's tokens to a foreground mask (K-means on scaled channels).

The protocol is that of "Few Channels Draw The Whole Picture" (arXiv 2605.13974), section 3.2, as far
as it is known: scale each channel over tokens, cluster the vectors in two, call the cluster of higher
mean heat the foreground. K-means initialisations, scalings other than min-max and polarity rules
other than ``signed`` are not the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from ditscope import checks
from ditscope.errors import InputError, unknown_name

SCALES = ("minmax", "zscore", "percentile", "none")
POLARITIES = ("signed", "abs", "border", "minority")


@dataclass(frozen=True)
class Protocol:
    """How a mask is made.

    Attributes:
        k: clusters.
        scale: of each channel over tokens: ``minmax`` to [0, 1]; ``zscore``; ``percentile`` clips at
            ``percentile`` and its mirror before min-max, against a few extreme tokens; ``none``.
        percentile: lower clip in per cent, 0 to 50 (50 left out).
        polarity: ``signed`` (foreground = cluster of higher mean heat), ``abs`` (the same on the
            absolute values), ``border`` (the cluster with the smallest part of it on the image's
            border), ``minority`` (the smallest cluster).
        components: cluster this many principal components in place of the channels themselves.
        seed: of K-means.
        n_init: K-means initialisations.
    """

    k: int = 2
    scale: str = "minmax"
    percentile: float = 2.0
    polarity: str = "signed"
    components: int | None = None
    seed: int = 0
    n_init: int = 10

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise unknown_name("scale", self.scale, SCALES)
        if self.polarity not in POLARITIES:
            raise unknown_name("polarity", self.polarity, POLARITIES)
        if not 0 <= self.percentile < 50:
            raise InputError(f"percentile={self.percentile}", "0 to 50, 50 left out", "Use 2.")
        if checks.whole_number("k", self.k) < 2:
            raise InputError("k=1", "at least two clusters", "Use k=2.")
        checks.whole_number("n_init", self.n_init)
        if self.components is not None:
            checks.whole_number("components", self.components)


@dataclass(frozen=True)
class ImageMask:
    """The mask of one image: ``mask`` bool, ``heat`` float and ``cluster`` int, each ``[token]``.

    ``lost`` is the number of channels left out for NaN or infinity.
    """

    mask: np.ndarray
    heat: np.ndarray
    cluster: np.ndarray
    lost: int


def locate(values: np.ndarray, border: np.ndarray, protocol: Protocol) -> ImageMask:
    """Foreground mask of one image.

    Args:
        values: ``[token, channel]`` float.
        border: bool ``[token]``, True at the edge of the latent grid.
        protocol: how.

    Returns:
        An empty mask where the features are the same at all tokens.
    """
    finite = np.isfinite(values).all(0)
    kept = values[:, finite].astype(np.float64)
    if protocol.polarity == "abs":
        kept = abs(kept)
    if protocol.components is not None and kept.size:
        count = min(protocol.components, *kept.shape)
        # scikit-learn makes the largest loading of a component positive, which fixes its sign.
        kept = PCA(count, random_state=protocol.seed).fit_transform(kept)
    scaled = scale_channels(kept, protocol.scale, protocol.percentile)
    heat = scaled.sum(1)
    lost = int((~finite).sum())
    if len(np.unique(scaled, axis=0)) < protocol.k:
        empty = np.zeros(len(values), dtype=int)
        return ImageMask(empty.astype(bool), heat, empty, lost)
    means = KMeans(protocol.k, n_init=protocol.n_init, random_state=protocol.seed)
    cluster = means.fit_predict(scaled)
    member = np.eye(protocol.k, dtype=bool)[cluster].T  # [cluster, token]
    if protocol.polarity == "border":
        chosen = np.argmin([border[m].mean() for m in member])
    elif protocol.polarity == "minority":
        chosen = np.argmin(member.sum(1))
    else:
        chosen = np.argmax([heat[m].mean() for m in member])
    return ImageMask(member[chosen], heat, cluster, lost)


def scale_channels(values: np.ndarray, scale: str, percentile: float = 2.0) -> np.ndarray:
    """``values [token, channel]``, each channel scaled over tokens; a constant channel becomes 0."""
    if scale == "none" or not values.size:
        return values
    if scale == "zscore":
        offset, span = values.mean(0), values.std(0)
    else:
        if scale == "percentile":
            values = np.clip(values, *np.percentile(values, [percentile, 100 - percentile], axis=0))
        offset, span = values.min(0), np.ptp(values, axis=0)
    # A channel that is constant up to rounding has a span of rounding errors, which must not be stretched.
    constant = np.ptp(values, axis=0) <= 1e-12 * abs(values).max(0)
    return np.where(constant, 0.0, (values - offset) / np.where(constant, 1.0, span))
