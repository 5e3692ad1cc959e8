"""The way from the device to the host that whatever is read in the blocks takes.

A transfer waits for the device. So values are moved whole, for all rows and branches at once, and what is small
waits on the device until the visit ends.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch


def to_host(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A tensor as a numpy array on the CPU, bit for bit; bfloat16 becomes ``ml_dtypes.bfloat16``."""
    values = tensor.detach().contiguous().cpu()
    if values.dtype == torch.bfloat16:
        return values.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return values.numpy()
