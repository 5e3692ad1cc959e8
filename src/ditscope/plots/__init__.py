"""One function per figure: labelled arrays in, a matplotlib figure out.

Every figure can be read without its caption. Its title says what is shown, the line below says of
which model, stream, site and how many samples, axes carry units, and colours stay apart for
colour-blind readers. Nothing here touches pyplot or the caller's matplotlib settings.
"""

from __future__ import annotations

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ablation": "bars",
        "channel_magnitude": "magnitude",
        "channel_spectrum": "spectrum",
        "image_grid": "pictures",
        "iou_by_block": "curves",
        "jaccard_matrix": "matrices",
        "loss_curve": "training",
        "mask_grid": "overlays",
        "save_png": "sheet",
        "stability_curve": "curves",
        "token_channel": "tokens",
    },
)
