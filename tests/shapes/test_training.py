"""The one command that trains the embedded world, from nothing to a judged pipeline, in a few steps."""

from __future__ import annotations

import dataclasses
import functools
import json

import pytest
from diffusers import DiffusionPipeline

import ditscope as ds
from ditscope.shapes.training import __main__ as command
from ditscope.shapes.training import autoencoder, clip, evaluation, oracle, transformer


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few scenes, small batches and a short verdict; all else as it is."""
    for name in ("COARSE", "FINE"):
        stage = dataclasses.replace(getattr(transformer, name), scenes=16, batch=2)
        monkeypatch.setattr(transformer, name, stage)
    for name in ("train_autoencoder", "train_oracle", "train_clip"):
        few = {"scenes": 16} | ({"compiled": False} if name == "train_clip" else {})
        monkeypatch.setattr(command, name, functools.partial(getattr(command, name), **few))
    for module in (autoencoder, oracle, clip):
        monkeypatch.setattr(module, "_BATCH", 4)
    monkeypatch.setattr(evaluation, "judge_oracle", functools.partial(evaluation.judge_oracle, count=8))
    short = functools.partial(command.evaluate, count=4, searched=2, num_inference_steps=2)
    monkeypatch.setattr(command, "evaluate", short)


def test_it_trains_assembles_judges_and_resumes(tmp_path, small, capsys) -> None:
    steps = {"autoencoder_steps": 2, "oracle_steps": 2, "clip_steps": 2}
    paths = {"out": tmp_path / "shapes", "runs": tmp_path / "runs"}
    more = {"seed": 0, "device": "cpu", "compiled": False}
    command.train(**paths, **steps, coarse_steps=1, fine_steps=1, **more)
    command.train(**paths, **steps, coarse_steps=1, fine_steps=2, **more)

    found = {path.name for path in paths["out"].iterdir()}
    assert {
        "model_index.json",
        "ditscope.json",
        "clip",
        "oracle.safetensors",
        "quality.json",
        "samples.png",
    } <= found
    assert type(DiffusionPipeline.from_pretrained(paths["out"])).__name__ == "FluxPipeline"
    quality = json.loads((paths["out"] / "quality.json").read_text())
    shares = quality["generated"]["shape"]
    assert 0 <= shares["low"] <= shares["right"] <= shares["high"] <= 1
    assert '"generated"' in capsys.readouterr().out
    dit = ds.load(str(paths["out"]))
    assert dit.call_defaults["true_cfg_scale"] == quality["guidance_scale"]
