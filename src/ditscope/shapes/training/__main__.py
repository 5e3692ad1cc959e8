"""Train the embedded world from nothing, or go on where a run stopped.

    python -m ditscope.shapes.training --out data --runs runs/shapes

trains autoencoders, oracle, scorer and both generators, assembles the pipelines, judges them, and writes
``quality.json``, ``samples.png`` and the training curves beside the weights. A second call resumes:
finished parts are only loaded. ``--part`` trains some of them alone, by several calls at once if there is a GPU; the
generators' files can be carried elsewhere in between. The settings below made the files in ``data``.
"""

from __future__ import annotations

import json
import math
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

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
    steps: Annotated[int, typer.Option(help="Steps of each generator, at most.")] = 12_000,
    seconds: Annotated[float, typer.Option(help="Seconds of each generator, at most.")] = math.inf,
    compiled: Annotated[bool, typer.Option(help="Compile the transformers' blocks.")] = True,
) -> None:
    """Train, assemble and judge the embedded pipelines."""
    torch.set_float32_matmul_precision("high")
    out, runs = local_path(out), local_path(runs)
    runs.mkdir(parents=True, exist_ok=True)
    common = {"seed": seed, "device": device, "workers": workers}
    length = {"steps": steps, "seconds": seconds, "compiled": compiled}

    oracle, clip, autoencoder, flux, autoencoder_dc, sana = (None,) * 6
    if {Part.ORACLE, Part.PIPELINES} & {*part}:
        oracle = train_oracle(runs, steps=oracle_steps, **common)
    if {Part.CLIP, Part.PIPELINES} & {*part}:
        clip = train_clip(runs, steps=clip_steps, **common)
    if {Part.SHAPES, Part.PIPELINES} & {*part}:
        autoencoder = train_autoencoder(runs, steps=autoencoder_steps, **common)
        torch.manual_seed(seed)
        flux = train_generator(runs, FluxGenerator(), autoencoder, coarse_share=0.15, **length, **common)
    if {Part.SANA, Part.PIPELINES} & {*part}:
        autoencoder_dc = train_autoencoder(
            runs, steps=dc_steps, name="autoencoder_dc", n_objects=(1, 2), batch=64, **common
        )
        torch.manual_seed(seed)
        sana = train_generator(runs, SanaGenerator(), autoencoder_dc, coarse_share=0.0, **length, **common)
    if Part.PIPELINES in part:
        # These open pipelines, for which a machine that only trains need not have the libraries.
        from ditscope.shapes import assembly
        from ditscope.shapes.training.evaluation import evaluate

        shapes = out / "shapes"
        assembly.save_oracle(oracle, shapes)
        assembly.save_clip(clip, shapes / "clip")
        assembly.save_pipeline(assembly.assemble(flux, autoencoder), shapes, assembly.CALL)
        assembly.save_pipeline(assembly.assemble_sana(sana, autoencoder_dc), out / "shapes-sana", assembly.SANA_CALL)
        for name, curve in (("shapes", "generator"), ("shapes-sana", "sana")):
            typer.echo(json.dumps(evaluate(out / name, runs, judged_by=shapes, curve=curve), indent=2))


if __name__ == "__main__":
    typer.run(train)
