"""A claim as a script: its options are those of a study, and it says beforehand what it would take."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ditscope.cli.claim import run_claim

SCRIPT = Path(__file__).parents[2] / "analyses/01_criticality.py"


@pytest.fixture(scope="module")
def criticality():
    spec = importlib.util.spec_from_file_location("criticality", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Criticality


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


def test_it_is_run_and_what_is_small_is_kept(tmp_path: Path, capsys) -> None:
    import xarray as xr

    from ditscope.studies import Claim, Quantity, Rule

    class Width(Claim):
        """A claim that needs no run."""

        name, claim, source, design, controls = "width", "It is wide.", "nobody", "Look.", ("none",)
        rule = Rule((Quantity.above("width", "width", 100.0),))

        def test(self, trial, chosen):
            from ditscope.studies import Evidence

            coords = {"sample": range(len(trial.prompts)), "prompt": ("sample", list(trial.prompts))}
            return Evidence(
                {"width": xr.DataArray([trial.dit.width] * len(trial.prompts), coords, ["sample"])}
            )

        def figures(self, result):
            return {}

        def work(self):
            raise NotImplementedError

    assert run(Width, "--out", str(tmp_path / "out"), "--keep", str(tmp_path / "kept")) == 0
    assert "open" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"verdict.json", "verdict.png"}
