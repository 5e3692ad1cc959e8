"""What the disk can do: the same bytes written and read by the system's own calls, and files put out of memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_AT_ONCE = 8 * 2**20
_COUNTED = Path("/proc/self/io")


def write_raw(path: Path, arrays: Iterable[np.ndarray]) -> float:
    """Seconds that one sequential file of arrays takes, by ``os.write``, synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for array in arrays:
            left = memoryview(array.view(np.uint8).reshape(-1))
            while left:
                left = left[os.write(file, left[:_AT_ONCE]) :]
        os.fsync(file)
    finally:
        os.close(file)
    return time.perf_counter() - begin


def write_nbytes(path: Path, nbytes: int) -> float:
    """The same for so many random bytes."""
    block = np.frombuffer(np.random.default_rng(0).bytes(min(nbytes, _AT_ONCE)), np.uint8)
    whole, rest = divmod(nbytes, len(block))
    return write_raw(path, [*[block] * whole, block[:rest]])


def write_numpy(folder: Path, arrays: Iterable[np.ndarray]) -> float:
    """Seconds that a file of each array takes, by ``numpy.save``, synced (bfloat16 as uint16)."""
    folder.mkdir(parents=True)
    begin = time.perf_counter()
    for number, array in enumerate(arrays):
        with (folder / f"{number}.npy").open("wb") as file:
            np.save(file, array.view(f"u{array.itemsize}"))
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - begin


def read_raw(store: Path) -> int:
    """Read every file of a store, one after the other: the number of bytes."""
    into, read = bytearray(_AT_ONCE), 0
    for path in _files(store):
        file = os.open(path, os.O_RDONLY)
        try:
            while count := os.readv(file, [into]):
                read += count
        finally:
            os.close(file)
    return read


def sync(store: Path) -> float:
    """Seconds until all that was written below a folder is on disk."""
    begin = time.perf_counter()
    for path in _files(store):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return time.perf_counter() - begin


def forget(store: Path) -> None:
    """Ask the system to drop a store's files from memory, so that reading reaches the disk; a tmpfs keeps them."""
    for path in _files(store) if hasattr(os, "posix_fadvise") else ():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_read() -> int:
    """Bytes that this process has read by system calls so far; 0 where the system does not count them."""
    lines = _COUNTED.read_text().splitlines() if _COUNTED.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("rchar:")), 0)


def _files(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file())
