"""Train the embedded world from nothing, or go on where a run stopped.

    python -m ditscope.shapes.training --out data/shapes --runs runs/shapes

trains autoencoder, oracle, scorer and generator, assembles the pipeline, judges it, and writes
``quality.json``, ``samples.png`` and the training curves beside the weights. A second call resumes:
finished parts are only loaded. The steps below made the files in ``data/shapes``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from ditscope.paths import local_path
from ditscope.shapes import assembly
from ditscope.shapes.training.autoencoder import train_autoencoder
from ditscope.shapes.training.clip import train_clip
from ditscope.shapes.training.evaluation import evaluate
from ditscope.shapes.training.oracle import train_oracle
from ditscope.shapes.training.transformer import train_generator


def train(
    out: Annotated[Path, typer.Option(help="Folder of the trained pipeline.")] = Path("data/shapes"),
    runs: Annotated[Path, typer.Option(help="Folder of resumable state and curves.")] = Path("runs/shapes"),
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    autoencoder_steps: int = 1200,
    oracle_steps: int = 1000,
    clip_steps: int = 700,
    coarse_steps: int = 3250,
    fine_steps: int = 2350,
    compiled: Annotated[
        bool, typer.Option(help="Compile the transformer: faster, after a slow start.")
    ] = True,
) -> None:
    """Train, assemble and judge the embedded pipeline."""
    out, runs = local_path(out), local_path(runs)
    runs.mkdir(parents=True, exist_ok=True)
    autoencoder = train_autoencoder(runs, steps=autoencoder_steps, seed=seed, device=device)
    assembly.save_oracle(train_oracle(runs, steps=oracle_steps, seed=seed, device=device), out)
    assembly.save_clip(
        train_clip(runs, steps=clip_steps, seed=seed, device=device, compiled=compiled), out / "clip"
    )
    generator = train_generator(
        runs,
        autoencoder,
        coarse_steps=coarse_steps,
        fine_steps=fine_steps,
        seed=seed,
        device=device,
        compiled=compiled,
    )
    assembly.save_pipeline(assembly.assemble(generator.float().cpu(), autoencoder.float().cpu()), out)
    quality = evaluate(out, runs)
    typer.echo(json.dumps(quality, indent=2))


if __name__ == "__main__":
    typer.run(train)
