"""How masks are made: one object for every pass that makes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ditscope import checks
from ditscope.errors import InputError

__all__ = ["MaskOptions"]

SCALES = ("minmax", "zscore", "percentile", "none")
POLARITIES = ("signed", "abs", "border", "border_majority", "minority")


@dataclass(frozen=True)
class MaskOptions:
    """How a mask is made from the channels of an image's tokens.

    Attributes:
        n_clusters: number of clusters of tokens.
        scale: of each channel over tokens: ``minmax`` to [0, 1]; ``zscore``; ``percentile`` clips at
            ``percentile`` and its mirror before min-max, against a few extreme tokens; ``none``.
        percentile: lower clip in per cent, 0 to 50 (50 left out).
        polarity: ``signed`` (foreground = cluster of higher mean heat), ``abs`` (the same on the
            absolute values), ``border`` (the cluster with the smallest part of it on the image's
            border), ``border_majority`` (the cluster with the fewest tokens on it), ``minority`` (the smallest
            cluster).
        vote: whether the blocks whose masks are made together vote on which side is the foreground, each by its rule
            (:mod:`ditscope.passes.polarity_vote`); of two clusters, and three blocks or more.
        components: cluster this many principal components in place of the channels themselves.
        seed: of K-means.
        n_init: K-means initialisations.
        collapse_share: a side of the mask with less than this share of the tokens counts as collapsed.

    Raises:
        InputError: an option that is not known or not possible.

    Examples:
        >>> options = ds.passes.MaskOptions(polarity="border", scale="zscore")
        >>> masks = ds.passes.spatial_masks(cache, massive, options=options)
    """

    n_clusters: int = 2
    scale: str = "minmax"
    percentile: float = 2.0
    polarity: str = "signed"
    components: int | None = None
    seed: int = 0
    n_init: int = 10
    collapse_share: float = 0.02
    vote: bool = False

    def __post_init__(self) -> None:
        checks.whole_number("n_clusters", self.n_clusters, least=2)
        checks.name_of("scale", self.scale, SCALES)
        checks.name_of("polarity", self.polarity, POLARITIES)
        checks.whole_number("n_init", self.n_init)
        checks.name_of("vote", self.vote, (True, False))
        if self.vote and self.n_clusters != 2:
            raise InputError(f"a vote on {self.n_clusters} clusters", "two", "Pass n_clusters=2.")
        if not 0 <= self.percentile < 50:
            raise InputError(f"percentile={self.percentile}", "0 to 50, 50 left out", "Pass percentile=2.")
        if not 0 <= self.collapse_share <= 0.5:
            raise InputError(f"collapse_share={self.collapse_share}", "0 to 0.5", "Pass collapse_share=0.02.")
        if self.components is not None:
            checks.whole_number("components", self.components)

    def attributes(self) -> dict[str, Any]:
        """The options as attributes of a dataset."""
        return {name: value for name, value in asdict(self).items() if value is not None} | {
            "vote": int(self.vote)
        }
