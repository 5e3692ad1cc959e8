"""What a run takes: seconds of every visit, seconds in all, peak memory of device and host; and how it is said."""

from __future__ import annotations

import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

PROCESS = Path("/proc/self")


@dataclass
class Taken:
    """What one run took.

    Attributes:
        seconds: of the whole run.
        visits: seconds of every complete call of the transformer, with what was done inside it.
        host_bytes: the process's largest resident set during the run; None where the system does not say.
        device_bytes: most bytes that torch had allocated on the GPU; None on a CPU.
        result: what the run returned.
    """

    seconds: float = 0.0
    visits: list[float] = field(default_factory=list)
    host_bytes: int | None = None
    device_bytes: int | None = None
    result: Any = None


def take(run: Callable[[], Any], device: str, transformer: torch.nn.Module | None = None) -> Taken:
    """Run and measure, starting with no garbage and fresh peaks; visits are those of ``transformer``."""
    taken = Taken()
    gc.collect()
    on_gpu = _on_gpu(device)
    if on_gpu:
        torch.cuda.init()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    host_is_known = _reset_host_peak()
    with nullcontext() if transformer is None else _timed_visits(transformer, device, taken.visits):
        begin = time.perf_counter()
        taken.result = run()
        _wait_for(device)
        taken.seconds = time.perf_counter() - begin
    taken.host_bytes = _host_peak() if host_is_known else None
    taken.device_bytes = torch.cuda.max_memory_allocated(device) if on_gpu else None
    return taken


@contextmanager
def _timed_visits(transformer: torch.nn.Module, device: str, seconds: list[float]) -> Iterator[None]:
    begun: list[float] = []

    def before(*_: Any) -> None:
        _wait_for(device)
        begun.append(time.perf_counter())

    def after(*_: Any) -> None:
        _wait_for(device)
        seconds.append(time.perf_counter() - begun[-1])

    # A visit ends with the last of the transformer's parts: a hook on what runs after it would be refused.
    last = list(transformer.children())[-1]
    handles = [transformer.register_forward_pre_hook(before), last.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _on_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"


def _wait_for(device: str) -> None:
    """Until a GPU has done what it was given."""
    if _on_gpu(device):
        torch.cuda.synchronize(device)


def _reset_host_peak() -> bool:
    """Let the peak begin anew (proc(5), ``clear_refs``); whether that could be done."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _host_peak() -> int:
    """Bytes of the largest resident set since the last reset."""
    status = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def resident() -> int:
    """Bytes of the process's resident set now; 0 where the system does not say."""
    status = PROCESS / "status"
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def size_on_disk(store: Path) -> int:
    """Bytes of all files of a store."""
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())


def device_name(device: str) -> str:
    """The GPU's name, or the processor's with the number of threads in use."""
    if _on_gpu(device):
        return torch.cuda.get_device_name(device)
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    return f"{names[0] if names else platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def spread(values: Sequence[float]) -> str:
    """The median, with the least and the most where there are several."""
    least, median, most = (
        f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        for value in (min(values), statistics.median(values), max(values))
    )
    return f"{median} ({least} to {most})" if len(values) > 1 else median


_BEGIN = time.perf_counter()


def say(what: str) -> None:
    """Tell what is being done, and how long it has been."""
    print(f"{time.perf_counter() - _BEGIN:8.1f} s  {what}", file=sys.stderr, flush=True)
