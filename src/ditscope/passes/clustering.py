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

from ditscope.passes.mask_options import MaskOptions


@dataclass(frozen=True)
class TokenMask:
    """The mask of one image: ``mask`` bool, ``heat`` float and ``cluster`` int, each ``[token]``.

    ``nonfinite`` is the number of channels left out for NaN or infinity.
    """

    mask: np.ndarray
    heat: np.ndarray
    cluster: np.ndarray
    nonfinite: int


def foreground(values: np.ndarray, border: np.ndarray, options: MaskOptions) -> TokenMask:
    """Foreground mask of one image.

    Args:
        values: ``[token, channel]`` float.
        border: bool ``[token]``, True at the edge of the latent grid.
        options: how.

    Returns:
        An empty mask where the features are the same at all tokens.
    """
    finite = np.isfinite(values).all(0)
    kept = values[:, finite].astype(np.float64)
    if options.polarity == "abs":
        kept = abs(kept)
    if options.components is not None and kept.size:
        count = min(options.components, *kept.shape)
        # scikit-learn makes the largest loading of a component positive, which fixes its sign.
        kept = PCA(count, random_state=options.seed).fit_transform(kept)
    scaled = scale_channels(kept, options.scale, options.percentile)
    heat = scaled.sum(1)
    nonfinite = int((~finite).sum())
    if len(np.unique(scaled, axis=0)) < options.n_clusters:
        empty = np.zeros(len(values), dtype=int)
        return TokenMask(empty.astype(bool), heat, empty, nonfinite)
    means = KMeans(options.n_clusters, n_init=options.n_init, random_state=options.seed)
    cluster = means.fit_predict(scaled)
    member = np.eye(options.n_clusters, dtype=bool)[cluster].T  # [cluster, token]
    if options.polarity == "border":
        chosen = np.argmin([border[m].mean() for m in member])
    elif options.polarity == "border_majority":
        chosen = np.argmin([border[m].sum() for m in member])
    elif options.polarity == "minority":
        chosen = np.argmin(member.sum(1))
    else:
        chosen = np.argmax([heat[m].mean() for m in member])
    return TokenMask(member[chosen], heat, cluster, nonfinite)


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
