"""``ditscope demo``: the first look with its own settings, in the folder that is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ditscope.cli import app
from ditscope.studies import FirstLook


@pytest.mark.parametrize(("options", "folder"), [([], "demo"), (["--out", "runs/look"], "runs/look")])
def test_it_runs_the_first_look_as_it_is(options, folder, monkeypatch) -> None:
    ran = []

    def run(study: FirstLook, out: Path, *, dit, say, command) -> SimpleNamespace:
        say("record 24 images")
        ran.append((study, out, dit))
        return SimpleNamespace(folder=out)

    monkeypatch.setattr(FirstLook, "run", run)
    result = CliRunner().invoke(app, ["demo", *options])
    assert result.exit_code == 0, result.output
    assert ran == [(FirstLook(), Path(folder), None)]
    assert result.output.startswith("- load the libraries")
    assert "- record 24 images" in result.output
    assert f"open {folder}/report.html" in result.output
