"""Every operation on the files of a store, in one place: nothing but plain files and folders is ever opened.

A store may come from a stranger, and may be on a disk that is full, failing or switched off. So links, pipes and
devices inside of it are refused before they are opened, what is read is bounded, and what is written is durable
before anything counts on it. The way *to* the store may lead over links: it is settled once, when it is opened.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ditscope.cache import page_cache
from ditscope.errors import CacheError

MOST_JSON_BYTES = 16 * 2**20
"""Most bytes of a JSON file of a store: thousands of blocks, steps and channels take less."""

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def require_folders(store: Path, folders: Iterable[Path]) -> None:
    """See that folders of a store, and those that they are in, are folders and no links out of it.

    Raises:
        CacheError: one is something else, or is not there.
    """
    seen = {store}
    for folder in folders:
        for part in reversed([folder, *folder.parents[: len(folder.parts) - len(store.parts) - 1]]):
            if part not in seen:
                seen.add(part)
                _require(part, stat.S_ISDIR, "a folder")


def size(path: Path) -> int | None:
    """Bytes of a plain file; None if there is nothing.

    Raises:
        CacheError: there is something else, such as a link.
    """
    try:
        return _require(path, stat.S_ISREG, "a plain file").st_size
    except FileNotFoundError:
        return None


def read(path: Path, most: int = MOST_JSON_BYTES) -> bytes:
    """The bytes of a file, at most ``most`` of them.

    Raises:
        OSError: it cannot be read.
        CacheError: it is no plain file, or larger.
    """
    with opened(path) as handle:
        found = nbytes_of(handle)
        if found > most:
            raise CacheError(
                f"{found} bytes in {path}", f"at most {most}", "The store is damaged, or none of ditscope's."
            )
        data = bytearray(found)
        return bytes(data[: read_into(handle, 0, memoryview(data))])


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file of the store.

    Raises:
        CacheError: the file is missing, too large, or not JSON; ``what`` says what it should be.
    """
    try:
        return json_of(read(path))
    except OSError as error:
        raise CacheError(
            f"no readable file {path} ({error.strerror})",
            what,
            "The store was cut short: fetch it again, or record into a new path.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise CacheError(
            f"{path} which is not JSON ({error})",
            what,
            "The store is damaged: fetch it again, or record into a new path.",
        ) from error


def json_of(text: bytes) -> Any:
    """Read JSON as it is defined: without NaN, infinity, and numbers that are too large to be any.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deep.
    """
    return json.loads(text, parse_constant=_number, parse_float=_number)


def nbytes_of(handle: int) -> int:
    """Bytes of an open file."""
    return os.fstat(handle).st_size


def read_into(handle: int, offset: int, target: memoryview) -> int:
    """Fill ``target`` from an open file; returns how many bytes there were."""
    done = 0
    while done < len(target):
        got = os.preadv(handle, [target[done:]], offset + done)
        if got == 0:
            break
        done += got
    return done


def announce(handle: int, places: Iterable[tuple[int, int]]) -> None:
    """Tell the system that parts of a file, (offset, bytes), will be read, so that it fetches them side by side."""
    if hasattr(os, "posix_fadvise"):
        for offset, length in places:
            os.posix_fadvise(handle, offset, length, os.POSIX_FADV_WILLNEED)


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A plain file's handle.

    Raises:
        OSError: it cannot be opened.
        CacheError: it is no plain file.
    """
    if not flags & os.O_CREAT:
        _require(path, stat.S_ISREG, "a plain file")
    handle = os.open(path, flags | _NO_LINKS, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _other(path, os.fstat(handle), "a plain file")
        yield handle
    finally:
        os.close(handle)


def write_new(path: Path, data: Any, *, durable: bool = True, cached: bool = True) -> int:
    """Write a file that nothing counts on yet, whole; its name is durable once its folder is synced too.

    Args:
        path: of the file.
        data: its bytes, or an iterator of parts of them, each of which is asked for once the one before is written.
        durable: whether its bytes are so afterwards, and not once :func:`sync` was called.
        cached: whether the system keeps them in memory too; if not, parts that begin at a block of memory are faster.

    Returns:
        Its size.
    """
    remove(path)
    written = 0
    try:
        with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as handle:
            for part in data if isinstance(data, Iterator) else (data,):
                view = memoryview(part).cast("B")
                _write(handle, view if cached else _past_cache(handle, view))
                written += len(view)
            if durable:
                os.fsync(handle)
    except BaseException:  # leave the room to others where the disk is full
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return written


def overwrite(path: Path, data: bytes) -> None:
    """Write a small file in place, which after a crash may be as before, or neither: it must be known otherwise."""
    with opened(path, os.O_WRONLY | os.O_CREAT) as handle:
        _write(handle, memoryview(data))
        os.ftruncate(handle, len(data))


def replace(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a small file so that it is either as before or complete; after a crash too, where ``durable``."""
    # One name, so that what a kill leaves is overwritten when the file is written again, as it will be.
    partial = path.with_name(f".{path.name}.partial")
    remove(partial)
    try:
        with opened(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as handle:
            _write(handle, memoryview(data))
            if durable:
                os.fsync(handle)
        rename(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    if durable:
        sync_folder(path.parent)


def append(path: Path, data: bytes, at: int) -> None:
    """Add to a file behind byte ``at``, durably; what it had behind that is dropped, as it is if this fails."""
    with opened(path, os.O_WRONLY) as handle:
        try:
            os.ftruncate(handle, at)
            os.lseek(handle, at, os.SEEK_SET)
            _write(handle, memoryview(data))
            os.fsync(handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, at)
            raise


def make_folders(path: Path, *, durable: bool = False) -> None:
    """Make a folder and those that it is in, where they are not there."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()] if durable else []
    os.makedirs(path, exist_ok=True)
    for folder in made:
        sync_folder(folder.parent)


def rename(old: Path, new: Path) -> None:
    """Give a file or folder another name, at once; what had that name, but for a full folder, is replaced."""
    os.rename(old, new)


def remove(path: Path) -> None:
    """Remove a file or a link, not what it leads to; nothing there is as well.

    Raises:
        OSError: it is a folder, or cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def names(folder: Path) -> list[str]:
    """Names in a folder, in order."""
    return sorted(os.listdir(folder))


def sync(path: Path) -> None:
    """Make a file's bytes durable."""
    with opened(path) as handle:
        os.fsync(handle)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | _NO_LINKS)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that sync no folders
            raise
    finally:
        os.close(handle)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]}")
    return number


def _write(handle: int, data: memoryview) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _past_cache(handle: int, data: memoryview) -> memoryview:
    """Write whole blocks of data to the disk alone, as far as the file system takes them; the rest."""
    with page_cache.bypassed(handle):
        try:
            while len(data) >= page_cache.BLOCK:
                data = data[os.write(handle, data[: len(data) - len(data) % page_cache.BLOCK]) :]
        except OSError as error:
            # The file system, or what is left, has other blocks, or there is no such writing at all.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
    return data


def _require(path: Path, is_kind: Any, expected: str) -> os.stat_result:
    found = os.lstat(path)
    if not is_kind(found.st_mode):
        raise _other(path, found, expected)
    return found


def _other(path: Path, found: os.stat_result, expected: str) -> CacheError:
    kind = next((name for test, name in _KINDS if test(found.st_mode)), "a file")
    return CacheError(
        f"{kind} at {path}",
        f"{expected}: a store holds plain files and folders alone",
        "Do not use this store, or put a copy of what belongs there in its place.",
    )
