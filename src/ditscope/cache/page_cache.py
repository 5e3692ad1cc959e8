"""Writing past the system's page cache: straight from a recording's own memory to the disk.

What is recorded is seldom read again before other data has taken its place in the page cache, and to fill that takes
more processor time than all else of writing, which the model lacks. Where a file system takes no such writes, they go
through the cache as any others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system
    fcntl = None  # type: ignore[assignment]

BLOCK = 4096
"""Bytes of which memory and file must be multiples, where they begin and where they end."""

_PAST_CACHE = getattr(os, "O_DIRECT", 0)


def aligned(size: int) -> np.ndarray[Any, Any]:
    """Memory that begins at a block, uint8 ``[size]``, with anything in it."""
    whole = np.empty(size + BLOCK, np.uint8)
    start = -whole.ctypes.data % BLOCK
    return whole[start : start + size]


@contextlib.contextmanager
def bypassed(handle: int) -> Iterator[None]:
    """While inside, what is written to an open file goes past the page cache, if the file system can do that."""
    before = 0
    if fcntl is not None and _PAST_CACHE:
        before = fcntl.fcntl(handle, fcntl.F_GETFL)
        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_SETFL, before | _PAST_CACHE)
    try:
        yield
    finally:
        if before:
            fcntl.fcntl(handle, fcntl.F_SETFL, before)
