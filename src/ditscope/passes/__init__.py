"""Analysis passes: pure functions from labelled arrays to labelled arrays.

A pass takes a cache, a hidden-state array or a statistics dataset, and never opens a model.
"""

from ditscope.passes.concentration import energy_share, exceeds_threshold, gini, measure_concentration
from ditscope.passes.grids import iou
from ditscope.passes.mask_scores import mask_study, mask_summary, score_masks
from ditscope.passes.masks import spatial_masks
from ditscope.passes.overlap import expected_jaccard, jaccard, rank_biased_overlap, spearman
from ditscope.passes.ranking import Ranking, rank_channels
from ditscope.passes.samples_needed import samples_needed
from ditscope.passes.stability import stability
from ditscope.passes.statistics import channel_statistics, token_statistics
from ditscope.vocabulary import STATISTICS

__all__ = [
    "Ranking",
    "STATISTICS",
    "channel_statistics",
    "energy_share",
    "exceeds_threshold",
    "expected_jaccard",
    "gini",
    "iou",
    "jaccard",
    "mask_study",
    "mask_summary",
    "measure_concentration",
    "rank_biased_overlap",
    "rank_channels",
    "samples_needed",
    "score_masks",
    "spatial_masks",
    "spearman",
    "stability",
    "token_statistics",
]
