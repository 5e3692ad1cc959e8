"""``os`` for ``ditscope.cache.files``, on which things go wrong."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import threading

CHANGES = frozenset(["open", "write", "fsync", "rename", "unlink", "ftruncate", "makedirs"])
OPERATIONS = CHANGES | {"close", "lstat", "fstat", "lseek", "listdir", "preadv"}


class FaultyOs:
    """Counts the operations on files, and calls ``before(number, name)`` ahead of each."""

    def __init__(self, before, counted=OPERATIONS):
        self.count = itertools.count(1)
        self._before, self._counted = before, counted

    def __getattr__(self, name):
        value = getattr(os, name)
        if name not in self._counted:
            return value

        def operation(*arguments, **named):
            try:
                self._before(next(self.count), name)
            except OSError:
                if name == "close":  # which lets go of the file whatever it says
                    value(*arguments)
                raise
            return value(*arguments, **named)

        return operation

    @property
    def done(self):
        """How many operations there were."""
        return next(self.count) - 1


def counting():
    return FaultyOs(lambda number, name: None)


def failing(at, code, *, for_good=False):
    """The operation number ``at`` fails, or all from it on that change something."""

    def before(number, name):
        if number == at or (for_good and number > at and name in CHANGES):
            raise OSError(code, os.strerror(code))

    return FaultyOs(before)


def killing(at):
    """The process is killed ahead of operation number ``at``."""

    def before(number, name):
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return FaultyOs(before)


class PowerCut(BaseException):
    """Nothing happens after it."""


class _Node:
    """A file's bytes or a folder's names, as they are and as they are on disk for certain."""

    def __init__(self, folder):
        self.folder = folder
        self.now = {} if folder else bytearray()
        self.durable = {} if folder else b""


class ForgetfulDisk:
    """``os`` whose power is cut ahead of operation number ``at``: what was not synced until then is lost.

    Args:
        root: the folder in which everything happens, empty.
        at: number of the operation.
    """

    def __init__(self, root, at):
        self.count, self._at, self._root = itertools.count(1), at, str(root)
        self._nodes = {str(root): _Node(True)}
        self._handles = {}
        self._lock = threading.RLock()

    def __getattr__(self, name):
        value = getattr(os, name)
        if name not in OPERATIONS:
            return value
        after = getattr(self, f"_{name}", None)

        def operation(*arguments, **named):
            with self._lock:
                number = next(self.count)
                if number >= self._at:
                    raise PowerCut
                result = value(*arguments, **named)
                if after is not None:
                    after(result, *arguments)
                return result

        return operation

    def rebuild(self, target, *, names_kept):
        """Make what is on the disk after the cut; unsynced names are lost, or kept while unsynced bytes are lost."""

        def make(node, path):
            if not node.folder:
                path.write_bytes(node.durable)
                return
            path.mkdir()
            for name, child in (node.now if names_kept else node.durable).items():
                make(child, path / name)

        make(self._nodes[self._root], target)

    def _node(self, path):
        return self._nodes.get(str(path))

    def _add(self, path, node):
        path = str(path)
        self._nodes[path] = node
        self._nodes[os.path.dirname(path)].now[os.path.basename(path)] = node

    def _makedirs(self, _, path, **named):
        parts = os.path.relpath(path, self._root).split(os.sep)
        for depth in range(1, len(parts) + 1):
            folder = os.path.join(self._root, *parts[:depth])
            if folder not in self._nodes:
                self._add(folder, _Node(True))

    def _open(self, handle, path, flags, *mode):
        if flags & os.O_CREAT:
            self._add(path, _Node(False))
        self._handles[handle] = [self._node(path), 0]

    def _close(self, _, handle):
        self._handles.pop(handle, None)

    def _write(self, done, handle, data):
        node, at = self._handles[handle]
        node.now[at : at + done] = bytes(data[:done])
        self._handles[handle][1] += done

    def _lseek(self, at, handle, *_):
        self._handles[handle][1] = at

    def _ftruncate(self, _, handle, length):
        del self._handles[handle][0].now[length:]

    def _fsync(self, _, handle):
        node = self._handles[handle][0]
        if node is not None:
            node.durable = dict(node.now) if node.folder else bytes(node.now)

    def _unlink(self, _, path):
        self._nodes.pop(str(path), None)
        self._nodes[os.path.dirname(str(path))].now.pop(os.path.basename(str(path)), None)

    def _rename(self, _, old, new):
        old, new = str(old), str(new)
        node = self._nodes[old]
        self._nodes[os.path.dirname(old)].now.pop(os.path.basename(old))
        moved = {path: own for path, own in self._nodes.items() if path == old or path.startswith(f"{old}/")}
        for path in moved:
            del self._nodes[path]
        self._nodes.update({new + path[len(old) :]: own for path, own in moved.items()})
        self._add(new, node)


ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
