"""``ditscope study``: lists studies, and passes settings on."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ditscope.cli import app
from ditscope.studies import FirstLook


def test_studies_are_listed_with_their_claims() -> None:
    result = CliRunner().invoke(app, ["study"])
    assert result.exit_code == 0, result.output
    assert f"first_look  {FirstLook.claim}" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["no_such"], "study 'no_such'"),
        (["first_look"], "no --out"),
        (["first_look", "--out", "x", "--set", "n_prompts=3"], "six or more"),
        (["first_look", "--out", "x", "--set", "n_steps=3"], "setting of first_look 'n_steps'"),
        (["first_look", "--out", "x", "--redraw"], "no results.json"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["study", *options])
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir())
