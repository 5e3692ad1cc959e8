"""What is read goes to the host in the order in which it is read, and, on a GPU, while the model goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ditscope.cache.shards import Buffers, Spent
from ditscope.recording import device_copies
from ditscope.recording.device_copies import DeviceCopies, PinnedMemory, most_copied_at_once
from ditscope.recording.device_statistics import quick_statistics
from ditscope.recording.transfer import from_host, own_values
from filled_stores import Hidden

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
MIB = 2**20


def whole(hidden: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"hidden": hidden}


def test_on_the_cpu_all_is_done_at_once_and_uses_no_memory() -> None:
    buffers, time, stored = Buffers(0), Spent(), []
    copies = DeviceCopies(buffers, time)
    for number in range(3):
        hidden = torch.full((2, 3), float(number))
        copies.add(hidden, lambda own: {"a": own, "b": own + 1}, lambda arrays: stored.append(dict(arrays)))
        assert stored[-1]["a"].ctypes.data == hidden.data_ptr()
    assert [(float(each["a"][0, 0]), float(each["b"][0, 0])) for each in stored] == [(0, 1), (1, 2), (2, 3)]
    copies.finish()
    assert (len(stored), buffers.peak) == (3, 0)
    assert list(time.seconds) == ["statistics"]


def plain_memory(size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.uint8)


def test_pinned_buffers_are_filled_again_and_counted_as_what_the_system_gives() -> None:
    buffers = Buffers(400, least=100)
    memory = PinnedMemory(buffers, plain_memory)
    first = memory.take(65)
    assert first is not None
    assert len(first) == buffers.used == 128
    second = memory.take(128)
    assert buffers.used == 256
    assert memory.take(33) is None  # 64 more would leave files less than they need
    memory.give_back(first)
    assert memory.take(100) is first
    memory.give_back(first)
    memory.give_back(second)
    memory.close()
    assert buffers.used == 0
    assert len(buffers.take(400)) == 400


def test_where_no_pinned_memory_is_to_be_had_none_is_counted() -> None:
    buffers = Buffers(1000)
    assert PinnedMemory(buffers, lambda size: None).take(100) is None
    assert buffers.used == 0


def test_the_largest_copy_of_a_recording_is_told_beforehand() -> None:
    def most(device: str = "cuda", side: int = 64, **kept: Any) -> int:
        return most_copied_at_once(Hidden(1, 1, 30, side, 3072).schema(**kept), torch.device(device))

    hidden, statistics = 64 * 64 * 3072 * 2, 7 * 3072 * 4
    assert most("cpu") == 0
    assert most() == hidden + statistics + 128
    assert most(stats=False) == hidden + 128
    assert most(tensors=False) == statistics + 128
    assert most(side=16) == (32 * MIB // (hidden // 16) + 1) * (hidden // 16 + statistics) + 128
    assert most(side=1) == 30 * (3072 * 2 + statistics) + 128


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_no_pinned_memory() -> None:
    assert device_copies.pinned(100) is None


def checksum(values: torch.Tensor) -> torch.Tensor:
    """Of every bit of a tensor, and of its place."""
    words = values.contiguous().view(torch.int32).flatten().long()
    return (words * (2 * torch.arange(len(words), device=words.device) + 1)).sum()


def checked(copies: DeviceCopies, dtype: torch.dtype, own, repetitions: int = 150) -> int:
    """How many of many tensors arrive with another checksum than on the device; each is written into thereafter.

    The model is slower than the host, so that each is read before it is computed.
    """
    torch.manual_seed(0)
    hidden = torch.randn(1, 1024, 1024, device="cuda").to(dtype)
    weights = (torch.randn(1024, 1024, device="cuda") / 32).to(dtype)
    slow = torch.randn(4096, 4096, device="cuda")
    on_device, arrived = [], []
    for number in range(repetitions):
        torch.mm(slow, slow)
        hidden = torch.nn.functional.layer_norm(hidden @ weights + number, (1024,))
        on_device.append(checksum(hidden))
        copies.add(
            own(hidden)[None],
            lambda values: {"statistics": quick_statistics(values[0]), "hidden": values},
            lambda arrays: arrived.append(checksum(from_host(arrays["hidden"]))),
        )
        hidden.mul_(-0.5)
        hidden[:, ::2].add_(3)
    copies.finish()
    assert len(arrived) == repetitions
    return sum(int(there) != int(here) for there, here in zip(on_device, arrived, strict=True))


@on_gpu
@DTYPES
@pytest.mark.parametrize("queued", [256 * MIB, 20 * MIB, 3 * MIB], ids=["far", "near", "next"])
@pytest.mark.parametrize("budget", [64 * MIB, 0], ids=["pinned", "no room for pinned memory"])
def test_no_tensor_is_torn(monkeypatch, dtype, queued, budget) -> None:
    """However far the host is ahead, and whether it has pinned memory or not."""
    monkeypatch.setattr(device_copies, "QUEUED_BYTES", queued)
    buffers = Buffers(budget)
    assert checked(DeviceCopies(buffers, Spent()), dtype, own_values) == 0
    assert buffers.used == 0
    assert (buffers.peak > 0) == (budget > 0)
    assert buffers.peak <= 2 * 8 * MIB  # two copies under way; 4 MiB in float32, and the statistics


@on_gpu
def test_a_torn_tensor_would_be_seen() -> None:
    assert checked(DeviceCopies(Buffers(64 * MIB), Spent()), torch.float32, lambda hidden: hidden) > 0


@on_gpu
def test_a_copy_is_made_while_a_later_block_computes(monkeypatch) -> None:
    points: list[torch.cuda.Event] = []
    plain_mark = device_copies.mark

    def mark(stream: torch.cuda.Stream) -> torch.cuda.Event:
        points.append(plain_mark(stream))
        return points[-1]

    monkeypatch.setattr(device_copies, "mark", mark)
    copies, model = DeviceCopies(Buffers(256 * MIB), Spent()), torch.cuda.current_stream()
    hidden, weights = (torch.randn(4096, 4096, device="cuda") / 64 for _ in range(2))
    begin, blocks = plain_mark(model), []
    for _ in range(12):
        start = plain_mark(model)
        for _ in range(4):
            hidden = hidden @ weights
        blocks.append((start, plain_mark(model)))
        copies.add(own_values(hidden)[None], whole, lambda arrays: None)
    copies.finish()
    torch.cuda.synchronize()
    intervals = [[begin.elapsed_time(point) for point in pair] for pair in blocks]
    arrived = [
        [begin.elapsed_time(point) for point in (reduced, there)]
        for reduced, there in zip(points[1::3], points[2::3], strict=True)
    ]
    assert len(arrived) == len(intervals)
    for number, (reduced, _) in enumerate(arrived):
        assert reduced >= intervals[number][1]  # not before its own block is over
    beside = sum(
        any(start < there and reduced < end for start, end in intervals[number + 1 :])
        for number, (reduced, there) in enumerate(arrived)
    )
    assert beside >= len(arrived) // 2


@on_gpu
def test_every_kind_of_value_arrives_from_one_buffer() -> None:
    values = torch.randint(0, 256, (3, 5, 8), dtype=torch.uint8, device="cuda")
    kept = {
        str(dtype): (values > 127) if dtype == torch.bool else values.view(dtype).mT
        for dtype in (torch.bool, torch.bfloat16, torch.float32, torch.int64)
    }
    stored: list[dict[str, np.ndarray]] = []
    copies = DeviceCopies(Buffers(MIB), Spent())
    copies.add(
        values, lambda own: kept, lambda arrays: stored.append({n: a.copy() for n, a in arrays.items()})
    )
    copies.finish()
    for name, tensor in kept.items():
        expected = tensor.cpu().contiguous()
        assert torch.equal(from_host(stored[0][name]).view(torch.uint8), expected.view(torch.uint8))
