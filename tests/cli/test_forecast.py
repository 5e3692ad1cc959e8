"""``ditscope forecast``: what to keep is said as for ``record``."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ditscope.cli import app


def test_less_kept_is_less_forecast(untrained_folder: Path) -> None:
    call = [
        "forecast",
        str(untrained_folder),
        "--height",
        "64",
        "--width",
        "64",
        "--num-inference-steps",
        "4",
    ]
    whole = CliRunner().invoke(app, call)
    part = CliRunner().invoke(app, [*call, "--steps", "-1", "--channels", "0:8", "--blocks", "single"])
    assert (whole.exit_code, part.exit_code) == (0, 0), whole.output + part.output
    assert whole.output != part.output


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--steps", "28"], "step 28"), (["--branches", "uncond", "--no-guided"], "branch 'uncond'")],
)
def test_what_record_refuses_is_refused(untrained_folder: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(
        app, ["forecast", str(untrained_folder), "--height", "64", "--width", "64", *options]
    )
    assert result.exit_code == 2
    assert message in result.output


def test_the_size_of_a_call_is_the_folders_own(untrained_folder: Path) -> None:
    result = CliRunner().invoke(app, ["forecast", str(untrained_folder), "--streams", "image, text"])
    assert "16 x 16 image tokens and 24 text tokens" in result.output
    assert "--no-tensors" in result.output
