"""The one command that trains the embedded world, from nothing to a judged pipeline, in a few steps."""

from __future__ import annotations

import dataclasses
import functools
import json

import pytest
from diffusers import DiffusionPipeline

import ditscope as ds
from ditscope.shapes.training import __main__ as command
from ditscope.shapes.training import clip, evaluation, oracle, transformer


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few scenes, small batches and a short verdict; all else as it is."""
    for name in ("COARSE", "FINE"):
        stage = dataclasses.replace(getattr(transformer, name), scenes=16, batch=2)
        monkeypatch.setattr(transformer, name, stage)
    for name, few in {"train_autoencoder": {"batch": 4}, "train_oracle": {}, "train_clip": {}}.items():
        monkeypatch.setattr(command, name, functools.partial(getattr(command, name), scenes=16, **few))
    for module in (oracle, clip):
        monkeypatch.setattr(module, "_BATCH", 4)
    monkeypatch.setattr(evaluation, "judge_oracle", functools.partial(evaluation.judge_oracle, count=8))
    short = functools.partial(evaluation.evaluate, count=2, searched=1, num_inference_steps=1)
    monkeypatch.setattr(evaluation, "evaluate", short)
    monkeypatch.setattr(evaluation, "GUIDANCE_SCALES", (2.0,))


FEW = {"autoencoder_steps": 2, "dc_steps": 2, "oracle_steps": 2, "clip_steps": 2}


def test_it_trains_assembles_judges_and_resumes(tmp_path, small, capsys) -> None:
    paths = {"out": tmp_path / "data", "runs": tmp_path / "runs"}
    more = {**FEW, "seed": 0, "device": "cpu", "compiled": False, "workers": 1}
    command.train(**paths, part=[command.Part.SHAPES], shapes_steps=1, **more)
    assert {path.stem for path in paths["runs"].glob("*.state.safetensors")} == {
        "autoencoder.state",
        "generator.state",
    }
    command.train(**paths, shapes_steps=2, sana_steps=1, **more)

    shapes, sana = (paths["out"] / name for name in ("shapes", "shapes-sana"))
    parts = {"model_index.json", "ditscope.json", "quality.json", "samples.png"}
    assert parts | {"clip", "oracle.safetensors"} <= {path.name for path in shapes.iterdir()}
    assert parts <= {path.name for path in sana.iterdir()}
    for folder, name in ((shapes, "FluxPipeline"), (sana, "SanaPipeline")):
        assert type(DiffusionPipeline.from_pretrained(folder)).__name__ == name
        quality = json.loads((folder / "quality.json").read_text())
        for rows in ("generated", "generated_two_objects"):
            shares = quality[rows]["shape"]
            assert 0 <= shares["low"] <= shares["right"] <= shares["high"] <= 1
    assert capsys.readouterr().out.count('"generated"') == 2
    found = [ds.load(str(folder)).call_defaults for folder in (shapes, sana)]
    assert found[0]["true_cfg_scale"] in evaluation.GUIDANCE_SCALES
    assert found[1]["guidance_scale"] in evaluation.GUIDANCE_SCALES
