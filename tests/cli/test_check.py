"""``ditscope check`` on an untrained pipeline."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from ditscope.cli import app


def test_every_claim_holds(untrained_folder: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(untrained_folder)])
    assert result.exit_code == 0, result.output
    assert "13 of 13 hold" in result.output


def test_the_call_reaches_the_pipeline(untrained_folder: Path) -> None:
    # A step that a run of three does not have, a size and an argument that the pipeline refuses: each is passed on.
    for options, message in (
        (["--num-inference-steps", "0"], "num_inference_steps"),
        (["--height", "33"], "height"),
        (["--call", "no_such_argument=1"], "no_such_argument"),
    ):
        result = CliRunner().invoke(app, ["check", str(untrained_folder), *options])
        assert result.exit_code != 0
        assert message in f"{result.output} {result.exception}"
