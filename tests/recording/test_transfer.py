import numpy as np
import torch

from ditscope.recording.transfer import to_host


def test_bfloat16_comes_to_numpy_bit_for_bit() -> None:
    # Every value that there is, NaNs included.
    patterns = torch.arange(2**16, dtype=torch.int32).to(torch.uint16)
    array = to_host(patterns.view(torch.bfloat16).view(256, 256).T)
    assert str(array.dtype) == "bfloat16"
    assert np.array_equal(array.view("u2"), patterns.numpy().reshape(256, 256).T)
