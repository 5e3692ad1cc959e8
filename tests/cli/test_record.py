"""``ditscope record``, and ``info`` on what it wrote."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from ditscope.cache import open_cache
from ditscope.cli import app


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_forecast_record_info(untrained_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    record = ["record", untrained_folder, "--out", store, "--n-prompts", 2, "--num-inference-steps", 2]
    assert "for 2 samples" in run(*record, "--forecast")
    assert not store.exists()
    run(*record)
    assert "2 of 2 committed" in run("info", store, "--verify")


def test_what_is_kept_and_how_it_is_called_are_as_in_python(untrained_folder: Path, tmp_path: Path) -> None:
    store, prompts = tmp_path / "a.zarr", tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n")
    options = ["--prompts", prompts, "--seeds", "3,1", "--num-inference-steps", 3, "--batch-size", 2]
    options += [
        "--height",
        32,
        "--width",
        48,
        "--call",
        "true_cfg_scale=2",
        "--call",
        "negative_prompt=a blue star",
    ]
    options += ["--blocks", "0,single.5", "--steps", "0,-1", "--branches", "uncond", "--channels", "0:4"]
    run("record", untrained_folder, "--out", store, *options)
    cache = open_cache(store)
    hidden = cache.hidden()
    assert cache.images.shape == (2, 32, 48, 3)
    assert cache.images["seed"].values.tolist() == [3, 1]
    assert hidden["block_name"].values.tolist() == ["double.0", "single.5"]
    assert hidden["step"].values.tolist() == [0, 2]
    assert hidden["branch"].values.tolist() == ["uncond"]
    assert hidden["channel"].values.tolist() == [0, 1, 2, 3]
    call = cache.manifest["config"]["call"]
    assert (call["true_cfg_scale"], call["negative_prompt"]) == (2, "a blue star")
