"""The command line, on an untrained pipeline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ditscope import cli
from ditscope.cache import open_cache
from ditscope.models.dit import DiT

runner = CliRunner()


def test_help_loads_neither_torch_nor_diffusers() -> None:
    code = (
        "import sys; from ditscope.cli import app; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "assert not {'torch', 'diffusers', 'xarray'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_check_says_that_every_claim_holds(untrained_folder: Path) -> None:
    result = runner.invoke(cli.app, ["check", str(untrained_folder)])
    assert result.exit_code == 0, result.output
    assert "13 of 13 hold" in result.output


def test_record_then_info(untrained_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    arguments = ["record", str(untrained_folder), "--out", str(store), "--n-prompts", "2", "--steps", "2"]
    forecast = runner.invoke(cli.app, [*arguments, "--forecast"])
    assert forecast.exit_code == 0, forecast.output
    assert "for 2 samples" in forecast.output
    assert not store.exists()
    result = runner.invoke(cli.app, [*arguments, "--blocks", "0,single.5"])
    assert result.exit_code == 0, result.output
    info = runner.invoke(cli.app, ["info", str(store), "--verify"])
    assert info.exit_code == 0, info.output
    assert "2 of 2 committed" in info.output


def test_check_takes_size_steps_and_any_argument_of_the_call(
    untrained_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    report = DiT.check
    monkeypatch.setattr(DiT, "check", lambda dit, **call: calls.append(call) or report(dit, **call))
    options = ["--height", "32", "--width", "48", "--steps", "3", "--call", "guidance_scale=2.5"]
    result = runner.invoke(cli.app, ["check", str(untrained_folder), *options])
    assert result.exit_code == 0, result.output
    assert calls == [{"height": 32, "width": 48, "num_inference_steps": 3, "guidance_scale": 2.5}]


def test_record_takes_size_and_any_argument_of_the_call(untrained_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    options = ["--n-prompts", "1", "--steps", "2", "--height", "32", "--width", "48"]
    options += ["--call", "true_cfg_scale=2", "--call", "negative_prompt=a blue star"]
    result = runner.invoke(cli.app, ["record", str(untrained_folder), "--out", str(store), *options])
    assert result.exit_code == 0, result.output
    cache = open_cache(store)
    assert cache.images.shape == (1, 32, 48, 3)
    assert cache.schema.branches == ("cond", "uncond")
    call = cache.manifest["config"]["call"]
    assert (call["true_cfg_scale"], call["negative_prompt"]) == (2, "a blue star")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["guidance_scale"], "NAME=VALUE"),
        (["height=32"], "expected height once, and by its own option"),
        (["guidance_scale=1", "guidance_scale=2"], "expected guidance_scale once"),
    ],
)
def test_a_call_argument_that_is_not_one_is_refused(untrained_folder: Path, given, told) -> None:
    options = [part for item in given for part in ("--call", item)]
    result = runner.invoke(cli.app, ["check", str(untrained_folder), *options])
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", " ").split())  # of a box that wraps its lines


def test_bad_input_gives_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ditscope", "info", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("ditscope: found a folder without zarr.json")
    assert "Traceback" not in message
