"""The version, in one place, and the commit where ditscope runs from a git checkout."""

from __future__ import annotations

import functools
import re
from pathlib import Path

__version__ = "0.1.0"

_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_REFS = 5  # that name another each


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that this package is in, as it was at first; None where it is installed elsewhere.

    It says nothing of files that were changed since: to know that, all of them would have to be compared.
    """
    package = Path(__file__).parent
    return commit_of(package.parents[1]) if package.parent.name == "src" else None


def commit_of(checkout: Path) -> str | None:
    """The commit that is checked out in a folder, read without git; None where that cannot be known."""
    try:
        git = checkout / ".git"
        if git.is_file():  # of a worktree or a submodule
            git = checkout / git.read_text("utf-8").removeprefix("gitdir:").strip()
        common = git / "commondir"
        folders = [git, *([git / common.read_text("utf-8").strip()] if common.is_file() else [])]
        found = (git / "HEAD").read_text("utf-8").strip()
        for _ in range(_MOST_REFS):
            if not found.startswith("ref:"):
                break
            found = _ref(folders, found.removeprefix("ref:").strip())
    except (OSError, ValueError):
        return None
    return found if _COMMIT.fullmatch(found) else None


def described(version: object, known_commit: object) -> str:
    """What a store says of the ditscope that made it, in words; nothing where it says no commit."""
    return (
        f"{version or __version__}, commit {known_commit}; not whether files were changed since"
        if known_commit
        else ""
    )


def _ref(folders: list[Path], name: str) -> str:
    """What a ref says: in a file of its own, or in the file of all that were packed; nothing where it is in neither."""
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8").strip()
    for folder in folders:
        if (packed := folder / "packed-refs").is_file():
            for line in packed.read_text("utf-8").splitlines():
                if line.endswith(f" {name}"):
                    return line.partition(" ")[0]
    return ""
