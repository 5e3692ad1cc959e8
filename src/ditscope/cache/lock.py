"""One writer at a time: the lock of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ditscope.cache.sample_ledger import FOLDER
from ditscope.errors import CacheError

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def sole_writer(store: Path) -> Iterator[None]:
    """Hold the store for writing; the lock goes away with the process, however it ends.

    Where the system has no ``flock`` (Windows) nothing is held: two writers are not told from each other there.

    Raises:
        CacheError: another process is recording into it.
    """
    with (store / FOLDER / "writer.lock").open("ab") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CacheError(
                    f"{store} open for recording elsewhere",
                    "one writer at a time",
                    "Wait for the other recording to end, or record into another path.",
                ) from error
        yield
