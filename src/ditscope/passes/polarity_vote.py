"""Which side of a mask is the foreground, by the vote of several blocks that cut the same image in two."""

from __future__ import annotations

import numpy as np


def turned_over(masks: np.ndarray) -> np.ndarray:
    """Masks of one image that the others outvote, bool ``[block]``: their complement is the foreground.

    Blocks that cut an image alike, but call another side the foreground, are told by their correlations. The leading
    eigenvector of these sets the masks side by side, and says how far each goes with the others, which is the weight of
    its vote. A mask that is all one side has no vote, and stays.

    Args:
        masks: bool ``[block, token]``, by each block's own rule.
    """
    centred = masks - masks.mean(1, keepdims=True)
    size = np.sqrt((centred**2).sum(1, keepdims=True))
    unit = np.divide(centred, size, out=np.zeros_like(centred), where=size > 0)
    leading = np.linalg.eigh(unit @ unit.T)[1][:, -1]
    return leading * leading.sum() < 0
