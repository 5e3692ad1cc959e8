"""Train the embedded world from nothing, or go on where a run stopped.

    python -m ditscope.shapes.training --out data --runs runs/shapes

trains autoencoders, oracle, scorer and both generators, assembles the pipelines, judges them, and writes
``quality.json``, ``samples.png`` and the training curves beside the weights. A second call resumes:
finished parts are only loaded. ``--part`` trains some of them alone, by several calls at once if there is a GPU; the
generators' files can be carried elsewhere in between.

The settings below made the oracle, the scorer and the SANA pipeline in ``data``, on an H200 in four minutes, several
parts at once; SANA's training was ended by the clock. The FLUX.1 pipeline there is of an earlier recipe: one-object
scenes alone, 3250 coarse steps of 64 scenes and 2350 fine steps of 20.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ditscope.paths import local_path
from ditscope.shapes.training.autoencoder import train_autoencoder
from ditscope.shapes.training.clip import train_clip
from ditscope.shapes.training.generators import FluxGenerator, SanaGenerator
from ditscope.shapes.training.oracle import train_oracle
from ditscope.shapes.training.transformer import train_generator


class Part(StrEnum):
    """What is trained, in order; the last is what becomes of it."""

    ORACLE = "oracle"
    CLIP = "clip"
    SHAPES = "shapes"
    SANA = "shapes-sana"
    PIPELINES = "pipelines"


def train(
    out: Annotated[Path, typer.Option(help="Folder of the trained pipelines' folders.")] = Path("data"),
    runs: Annotated[Path, typer.Option(help="Folder of resumable state and curves.")] = Path("runs/shapes"),
    part: Annotated[list[Part], typer.Option(help="Only this part; may be repeated.")] = list(Part),  # noqa: B006
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    workers: Annotated[int, typer.Option(help="Processes that draw scenes.")] = os.cpu_count() or 1,
    autoencoder_steps: int = 1200,
    dc_steps: int = 2000,
    oracle_steps: int = 2500,
    clip_steps: int = 2000,
    shapes_steps: Annotated[int, typer.Option(help="Steps of the FLUX.1 generator, at most.")] = 8000,
    sana_steps: Annotated[int, typer.Option(help="Steps of the SANA generator, at most.")] = 1634,
    seconds: Annotated[float, typer.Option(help="Seconds of each generator, at most.")] = math.inf,
    compiled: Annotated[bool, typer.Option(help="Compile the transformers' blocks.")] = True,
) -> None:
    """Train, assemble and judge the embedded pipelines."""
    torch.set_float32_matmul_precision("high")
    out, runs = local_path(out), local_path(runs)
    runs.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {"seed": seed, "device": device, "workers": workers}
    length: dict[str, Any] = {"seconds": seconds, "compiled": compiled}

    def flux() -> tuple[Any, Any]:
        autoencoder = train_autoencoder(runs, steps=autoencoder_steps, **common)
        torch.manual_seed(seed)
        model = FluxGenerator()
        train_generator(runs, model, autoencoder, steps=shapes_steps, coarse_share=0.15, **length, **common)
        return model, autoencoder

    def sana() -> tuple[Any, Any]:
        scenes: dict[str, Any] = {"n_objects": (1, 2), "batch": 64}
        autoencoder = train_autoencoder(runs, steps=dc_steps, name="autoencoder_dc", **scenes, **common)
        torch.manual_seed(seed)
        model = SanaGenerator()
        train_generator(runs, model, autoencoder, steps=sana_steps, coarse_share=0.0, **length, **common)
        return model, autoencoder

    parts: dict[Part, Callable[[], Any]] = {
        Part.ORACLE: lambda: train_oracle(runs, steps=oracle_steps, **common),
        Part.CLIP: lambda: train_clip(runs, steps=clip_steps, **common),
        Part.SHAPES: flux,
        Part.SANA: sana,
    }
    trained = {name: make() for name, make in parts.items() if {name, Part.PIPELINES} & {*part}}
    if Part.PIPELINES in part:
        # These open pipelines, for which a machine that only trains need not have the libraries.
        from ditscope.shapes import assembly
        from ditscope.shapes.training.evaluation import evaluate

        shapes, shapes_sana = out / "shapes", out / "shapes-sana"
        assembly.save_oracle(trained[Part.ORACLE], shapes)
        assembly.save_clip(trained[Part.CLIP], shapes / "clip")
        assembly.save_pipeline(assembly.assemble(*trained[Part.SHAPES]), shapes)
        assembly.save_pipeline(assembly.assemble_sana(*trained[Part.SANA]), shapes_sana, assembly.SANA_CALL)
        for folder, curve in ((shapes, "generator"), (shapes_sana, "sana")):
            typer.echo(json.dumps(evaluate(folder, runs, judged_by=shapes, curve=curve), indent=2))


if __name__ == "__main__":
    typer.run(train)
