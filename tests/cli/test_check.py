"""``ditscope check`` on an untrained pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ditscope.cli import app
from ditscope.models.dit import DiT


def test_every_claim_holds(untrained_folder: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(untrained_folder)])
    assert result.exit_code == 0, result.output
    assert "13 of 13 hold" in result.output


def test_it_takes_size_steps_and_any_argument_of_the_call(
    untrained_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    check = DiT.check
    monkeypatch.setattr(DiT, "check", lambda dit, **call: calls.append(call) or check(dit, **call))
    options = [
        "--height",
        "32",
        "--width",
        "48",
        "--num-inference-steps",
        "3",
        "--call",
        "guidance_scale=2.5",
    ]
    result = CliRunner().invoke(app, ["check", str(untrained_folder), *options])
    assert result.exit_code == 0, result.output
    assert calls == [{"height": 32, "width": 48, "num_inference_steps": 3, "guidance_scale": 2.5}]
