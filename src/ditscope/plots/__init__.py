"""One function per figure: labelled arrays in, a matplotlib figure out.

Every figure can be read without its caption. Its title says what is shown, the line below says of
which model, stream, site and how many samples, axes carry units, and colours stay apart for
colour-blind readers. Nothing here touches pyplot or the caller's matplotlib settings.
"""

from ditscope.plots.ablation import ablation
from ditscope.plots.channel_magnitude import channel_magnitude
from ditscope.plots.channel_spectrum import channel_spectrum
from ditscope.plots.curves import iou_by_block, stability_curve
from ditscope.plots.image_grid import image_grid
from ditscope.plots.jaccard_matrix import jaccard_matrix
from ditscope.plots.loss_curve import loss_curve
from ditscope.plots.mask_grid import mask_grid
from ditscope.plots.sheet import save_png
from ditscope.plots.token_channel import token_channel

__all__ = [
    "ablation",
    "channel_magnitude",
    "channel_spectrum",
    "image_grid",
    "iou_by_block",
    "jaccard_matrix",
    "loss_curve",
    "mask_grid",
    "save_png",
    "stability_curve",
    "token_channel",
]
