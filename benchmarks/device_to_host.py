"""From a device to the host: how fast it could be, and whether what a recording keeps arrives whole."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ditscope.recording.record import record
from ditscope.recording.transfer import from_host
from ways_to_record import Task

_NBYTES = 2**28


def copy_rates(device: str, times: int) -> dict[str, list[float]]:
    """GB/s, into memory that is pinned, and that is not; of a CPU only the latter."""
    source = torch.ones(_NBYTES, dtype=torch.uint8, device=device)
    targets = {"pageable": torch.empty_like(source, device="cpu")}
    if source.is_cuda:
        targets["pinned"] = torch.empty_like(source, device="cpu", pin_memory=True)
    return {
        words: [_NBYTES / 1e9 / _seconds(source, target) for _ in range(times + 1)][1:]
        for words, target in targets.items()
    }


def _seconds(source: torch.Tensor, target: torch.Tensor) -> float:
    begin = time.perf_counter()
    target.copy_(source)
    if source.is_cuda:
        torch.cuda.synchronize(source.device)
    return time.perf_counter() - begin


def checksum(values: torch.Tensor) -> torch.Tensor:
    """Of every bit of a tensor, and of its place: int64, on its device."""
    words = values.contiguous().view(torch.int16).flatten().long()
    return (words * (2 * torch.arange(len(words), device=words.device) + 1)).sum()


def torn_tensors(task: Task, store: Path) -> tuple[int, int]:
    """How many hidden states of one sample arrive otherwise than they are on the device; of how many.

    Checksums are taken in a bare run, by plain hooks, on the model's stream, as soon as a block returns.
    """
    on_device: dict[tuple[int, int], torch.Tensor] = {}
    _, arguments = next(task.batches())

    def keep(visit: int, block: int, hidden: torch.Tensor) -> None:
        on_device[visit, block] = checksum(hidden)

    task.hooked(arguments, keep)
    prompt, seed = task.samples[0]
    with record(task.dit, store) as recording:
        hidden = recording.generate(prompt, seed, **task.call).hidden()
    torn = 0
    for (step, block), there in on_device.items():
        arrived = hidden.isel(sample=0, step=step, branch=0, block=block).values
        torn += int(checksum(from_host(arrived))) != int(there)
    return torn, len(on_device)
