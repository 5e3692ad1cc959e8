import ml_dtypes
import numpy as np
import pytest
import torch

from ditscope.recording.transfer import Gathering, copy_values, to_host, waits_for_device


def test_bfloat16_comes_to_numpy_bit_for_bit() -> None:
    # Every value that there is, NaNs included.
    patterns = torch.arange(2**16, dtype=torch.int32).to(torch.uint16)
    array = to_host(patterns.view(torch.bfloat16).view(256, 256).T)
    assert str(array.dtype) == "bfloat16"
    assert np.array_equal(array.view("u2"), patterns.numpy().reshape(256, 256).T)


def test_what_is_gathered_comes_back_under_its_label_once() -> None:
    gathering = Gathering(limit=20)
    first, second, third = (torch.arange(4.0) + value for value in (1, 2, 3))
    assert list(gathering.add("a", 7, first)) == []
    at_once = list(gathering.add("b", 8, second))  # 32 bytes
    assert [(kind, label, array.tolist()) for kind, label, array in at_once] == [
        ("a", 7, first.tolist()),
        ("b", 8, second.tolist()),
    ]
    assert list(gathering.add("a", 9, third)) == []
    ((kind, label, array),) = gathering.moved()
    assert (kind, label, array.tolist()) == ("a", 9, third.tolist())
    assert list(gathering.moved()) == []


def test_nothing_waits_on_the_cpu() -> None:
    assert not waits_for_device(torch.ones(1))
    assert waits_for_device(torch.ones(1, device="meta"))


@pytest.mark.parametrize("dtype", ["u1", "?", "f2", "i4", "f4", ml_dtypes.bfloat16])
def test_values_are_copied_bit_for_bit_into_strided_places(dtype) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (4, 6, np.dtype(dtype).itemsize), np.uint8)
    source = (drawn[..., 0] > 127) if dtype == "?" else drawn.view(dtype)[..., 0]
    room = np.zeros((8, 9), source.dtype)
    copy_values(room[::2, 2:8], source)
    copied = room[::2, 2:8].copy()
    assert copied.tobytes() == np.ascontiguousarray(source).tobytes()
    assert not room[1::2].astype(bool).any()
    assert not room[:, [0, 1, 8]].astype(bool).any()
    copy_values(room[::2, 2:8], source.T.copy().T)
    assert room[::2, 2:8].tobytes() == copied.tobytes()
