"""One writer at a time: the lock of a folder."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from ditscope.errors import CacheError

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system
    fcntl = None  # type: ignore[assignment]

_held: set[int] = set()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for writing; the lock goes away with the process, however it ends, and a fork does not share it.

    The folder itself is locked, so there is no lock file that could be deleted. Where the system has no ``flock``
    (Windows) or the file system has none, two writers are not told from each other; the latter warns.

    Raises:
        CacheError: it is held elsewhere.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)
    _held.add(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacheError(
                f"{folder} open for recording elsewhere",
                "one writer at a time",
                "Wait for the other recording to end, or record into another path.",
            ) from error
        except OSError as error:
            warnings.warn(
                f"The file system of {folder} has no locks ({error.strerror}): see to it that nobody else "
                "records there.",
                stacklevel=3,
            )
        yield
    finally:
        if handle in _held:
            _held.discard(handle)
            with contextlib.suppress(OSError):  # at once, though a child be just forking
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)


def _let_go_in_child() -> None:
    """A forked child shares its parent's open files, and with them the lock, until it closes them."""
    for handle in _held:
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
