"""``ditscope view``: a server for one who looks, or a page by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from store_recording import record
from typer.testing import CliRunner

from ditscope.cli import app
from patience import SECONDS


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A recording."""
    return record(tmp_path_factory.mktemp("view") / "a.zarr")


def test_it_prints_its_address_answers_there_and_ends_when_interrupted(store) -> None:
    command = [sys.executable, "-m", "ditscope.cli", "view", str(store), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address)
        with urllib.request.urlopen(f"{address}view/stores", timeout=SECONDS) as reply:
            assert b"a.zarr" in reply.read()
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
    assert "Traceback" not in errors


def test_a_page_has_what_is_chosen(store, tmp_path) -> None:
    page = tmp_path / "page.html"
    chosen = ["--samples", "0", "--steps", "1", "--blocks", "double.4", "--channels", "70"]
    result = CliRunner().invoke(app, ["view", str(store), "--export", str(page), *chosen])
    assert (result.exit_code, str(page) in result.output) == (0, True)
    assert 'id="answers"' in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.zarr"], "nothing at"),
        (["--export", "page.html", "--samples", "9"], "sample 9"),
        (["--export", "page.html", "--samples", "x"], "--samples 'x'"),
        (["--port", "70000"], "port 70000"),
        (["--samples", "0"], "--samples without --export"),
    ],
)
def test_what_cannot_be_shown_is_one_line(store, tmp_path, monkeypatch, arguments, words) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [] if arguments[0].endswith(".zarr") else [str(store)]
    result = CliRunner().invoke(app, ["view", *paths, *arguments])
    assert (result.exit_code, words in result.output) == (2, True)
    assert not (tmp_path / "page.html").exists()
