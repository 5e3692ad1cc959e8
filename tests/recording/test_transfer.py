import ml_dtypes
import numpy as np
import pytest
import torch

from ditscope.recording.transfer import Gathering, copy_values, from_host, to_host, waits_for_device


def test_bfloat16_comes_to_numpy_bit_for_bit() -> None:
    # Every value that there is, NaNs included.
    patterns = torch.arange(2**16, dtype=torch.int32).to(torch.uint16)
    array = to_host(patterns.view(torch.bfloat16).view(256, 256).T)
    assert str(array.dtype) == "bfloat16"
    assert np.array_equal(array.view("u2"), patterns.numpy().reshape(256, 256).T)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool]
)
def test_a_tensor_comes_back_from_numpy_bit_for_bit(dtype) -> None:
    # float32: NaNs, infinities and denormals are among the drawn bytes.
    drawn = torch.randint(0, 256, (16, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tensor = (drawn > 127).to(dtype) if dtype == torch.bool else drawn.view(dtype)
    array = to_host(tensor)
    array.setflags(write=False)  # as what is read from a file
    back = from_host(array)
    assert back.dtype == dtype
    assert back.shape == tensor.shape
    assert torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))
    before = array.tobytes()
    back.zero_()
    assert array.tobytes() == before


def listed(gathered) -> list:
    return [(kind, labels, tensors.tolist()) for kind, labels, tensors in gathered]


def test_what_is_gathered_comes_back_under_its_label_once() -> None:
    gathering = Gathering(limit=40)
    first, second, third = ([value, value + 1.0] for value in (1, 2, 3))
    for kind, label, values in (("a", 7, first), ("b", 8, second), ("a", 9, third)):
        assert list(gathering.add(kind, label, torch.tensor(values))) == []
    assert listed(gathering.gathered()) == [("a", (7, 9), [first, third]), ("b", (8,), [second])]
    assert list(gathering.gathered()) == []


def test_what_finds_no_room_any_more_is_handed_on_with_the_rest() -> None:
    gathering = Gathering(limit=32)
    handed = [list(gathering.add("a", label, torch.zeros(2))) for label in range(6)]
    assert [len(each) for each in handed] == [0, 0, 0, 0, 1, 0]
    assert handed[4][0][1] == (0, 1, 2, 3, 4)
    assert [labels for _, labels, _ in gathering.gathered()] == [(5,)]


def test_what_is_large_does_not_wait_and_is_not_copied() -> None:
    tensor = torch.zeros(9)
    ((kind, labels, tensors),) = Gathering(limit=4 * 36 - 1).add("a", 7, tensor)
    assert (kind, labels, tensors.shape) == ("a", (7,), (1, 9))
    assert tensors.data_ptr() == tensor.data_ptr()


def test_what_waits_is_not_the_model_s_own() -> None:
    """Which the model goes on to write into."""
    gathering, tensor = Gathering(), torch.ones(3)
    assert list(gathering.add("a", 7, tensor)) == []
    tensor.zero_()
    assert listed(gathering.gathered()) == [("a", (7,), [[1.0, 1.0, 1.0]])]


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
