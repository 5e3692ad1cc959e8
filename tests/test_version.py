"""The commit of a checkout is the one that git says, however it is kept; what cannot be read has none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ditscope import _version
from ditscope._version import commit, commit_of, described


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    git(folder, "branch", "some/branch")
    git(folder, "commit", "-q", "--allow-empty", "-m", "second")
    return folder


def test_it_is_what_git_says_of_a_branch_packed_refs_a_detached_head_and_a_worktree(
    checkout, tmp_path
) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert commit_of(checkout) == head
    git(checkout, "pack-refs", "--all")
    assert not (checkout / ".git/refs/heads/main").exists()
    assert commit_of(checkout) == head
    git(checkout, "worktree", "add", "-q", str(tmp_path / "tree"), "some/branch")
    assert commit_of(tmp_path / "tree") == git(tmp_path / "tree", "rev-parse", "HEAD") != head
    git(tmp_path / "tree", "commit", "-q", "--allow-empty", "-m", "third")  # the ref is a file again
    assert commit_of(tmp_path / "tree") == git(tmp_path / "tree", "rev-parse", "HEAD")
    git(checkout, "checkout", "-q", "--detach", "HEAD~1")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD") != head


def test_a_submodule_has_its_own(checkout, tmp_path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "--quiet", "add", str(checkout), "inner")
    assert commit_of(outer / "inner") == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".git", b"gitdir: nowhere"),
        (".git", b"\xff\x00"),
        (".git/HEAD", b""),
        (".git/HEAD", b"\xff"),
        (".git/HEAD", b"ref: refs/heads/none"),
        (".git/HEAD", b"ref: HEAD"),
        (".git/HEAD", b"no commit"),
        (".git/packed-refs", b"\xff"),
        ("other", b""),
    ],
)
def test_what_cannot_be_read_has_none(tmp_path, file, content) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(content)
    assert commit_of(tmp_path) is None


def test_a_package_that_is_installed_in_somebodys_repository_has_none(checkout, monkeypatch) -> None:
    for path, expected in (
        ("src/ditscope", git(checkout, "rev-parse", "HEAD")),
        ("venv/ditscope", None),
        ("a/src/ditscope", None),
    ):
        monkeypatch.setattr(_version, "__file__", str(checkout / path / "_version.py"))
        assert commit.__wrapped__() == expected


def test_a_store_that_says_no_commit_is_said_nothing_of() -> None:
    assert described("0.1.0", None) == ""
    assert described("0.1.0", "abc") == "0.1.0, commit abc; not whether files were changed since"
