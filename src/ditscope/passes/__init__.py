"""Analysis passes: pure functions from labelled arrays to labelled arrays.

A pass takes a cache, a hidden-state array or a statistics dataset, and never opens a model.
"""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ChannelSet": "channels",
        "Ranking": "ranking",
        "STATISTICS": "statistics",
        "channel_statistics": "statistics",
        "energy_share": "concentration",
        "exceeds_threshold": "concentration",
        "expected_jaccard": "overlap",
        "gini": "concentration",
        "iou": "grids",
        "jaccard": "overlap",
        "mask_summary": "mask_scores",
        "mask_study": "mask_scores",
        "measure_concentration": "concentration",
        "rank_biased_overlap": "overlap",
        "rank_channels": "ranking",
        "samples_needed": "convergence",
        "score_masks": "mask_scores",
        "spatial_masks": "masks",
        "spearman": "overlap",
        "stability": "agreement",
        "token_statistics": "statistics",
    },
)
