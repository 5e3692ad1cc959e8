"""A claim as a script: its options are those of a study, and it says beforehand what it would take."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import readme
from ditscope.cli.claim import run_claim


@pytest.fixture(scope="module")
def criticality():
    return readme.scripts()["01_criticality"]


def run(kind, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        run_claim(kind, arguments)
    return left.value.code


def test_a_forecast_needs_no_weights(criticality, capsys) -> None:
    assert run(criticality, "--forecast", "--set", "num_inference_steps=4") == 0
    said = capsys.readouterr().out
    passes = criticality(num_inference_steps=4).work().images * 4 * 2  # cond and uncond
    assert f"{passes:,.0f}" in said
    assert "hours on an H100" in said


def test_mistakes_are_a_line(criticality, capsys) -> None:
    assert run(criticality) == 2
    assert "no --out" in capsys.readouterr().err
    assert run(criticality, "--set", "nothing=1") == 2
    assert "setting of criticality" in capsys.readouterr().err


def test_the_claim_that_contributing_shows_is_run_and_what_is_small_is_kept(tmp_path: Path, capsys) -> None:
    page = (readme.HERE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    script = tmp_path / "width.py"
    script.write_text(
        re.search(r"^\*\*A claim\*\*.*?```python\n(.*?)```", page, re.M | re.S)[1], encoding="utf-8"
    )
    settings = {"n_choosing": 2, "n_least": 2, "n_most": 2, "num_inference_steps": 1, "batch_size": 2}
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    out, kept = tmp_path / "out", tmp_path / "kept"
    assert run(readme.claim_of(script), "--out", str(out), "--keep", str(kept), *options) == 0
    assert "report.html" in capsys.readouterr().out
    assert {path.name for path in kept.iterdir()} == {"verdict.json", "verdict.png"}
    assert json.loads((kept / "verdict.json").read_text())["quantities"][0]["low"] is not None
    assert run(readme.claim_of(script), "--out", str(out), "--beside", str(out)) == 2
    assert "one result twice" in capsys.readouterr().err
    other = shutil.copytree(out, tmp_path / "other")
    assert run(readme.claim_of(script), "--out", str(out), "--beside", str(other)) == 0
    assert (out / "beside/report.html").is_file()
