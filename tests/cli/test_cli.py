"""The command line as a whole: what help costs, where commands come from, how errors end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ditscope import cli


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from ditscope.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'matplotlib', 'numpy', 'diffusers', 'xarray'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert all(name in done.stdout for name in ("check", "demo", "forecast", "info", "record", "study"))


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ditscope.cli", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("ditscope ")


def test_bad_input_gives_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["info", str(tmp_path)])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("ditscope: found a folder without zarr.json")
    assert message.count("\n") == 1


def test_an_unexpected_error_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ditscope.cache.reader.open_cache", broken)
    result = CliRunner().invoke(cli.app, ["info", str(tmp_path)])
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_error_of_the_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path) -> None:
        error = OSError(28, "No space left on device", str(path))
        error.add_note("committed samples\nare safe")
        raise error

    monkeypatch.setattr("ditscope.cache.reader.open_cache", full)
    with pytest.raises(SystemExit) as stop:
        cli.main(["info", str(tmp_path)])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "No space left" in message
    assert "committed samples are safe" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["record"], ["forecast"]])
def test_help_has_a_short_name(command: list[str]) -> None:
    assert CliRunner().invoke(cli.app, [*command, "-h"]).output.startswith("Usage")


@pytest.mark.parametrize(
    ("model", "wrong", "found"),
    [
        ("shapes", ["--steps", "a"], "--steps"),
        ("shapes", ["--streams", "picture"], "--streams"),
        ("shapes", ["--branches", "none"], "--branches"),
        ("shapes", ["--sites", "x"], "--sites"),
        ("shapess", [], "'shapess', which is no folder here"),
    ],
)
def test_a_slip_is_refused_before_anything_heavy_is_loaded(
    model: str, wrong: list[str], found: str, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from ditscope.cli import main\n"
        f"try: main(['record', {model!r}, '--out', {str(tmp_path / 'a')!r}, *{wrong!r}])\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert not {'torch', 'numpy', 'diffusers', 'xarray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.startswith(f"ditscope: found {found}")


def test_ctrl_c_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(path: Path) -> None:
        error = KeyboardInterrupt()
        error.add_note("committed samples are safe")
        raise error

    monkeypatch.setattr("ditscope.cache.reader.open_cache", stopped)
    with pytest.raises(SystemExit) as stop:
        cli.main(["info", str(tmp_path)])
    assert stop.value.code == 130
    assert capsys.readouterr().err.strip() == (
        "ditscope: stopped; committed samples are safe; run it again to go on"
    )
