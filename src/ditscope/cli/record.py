"""``ditscope record``: hidden states into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditscope.cli import _options as options

__all__ = ["record"]


def record(
    name: options.Model,
    out: Annotated[Path, typer.Option(help="The store to write or resume.")],
    prompts: options.PromptFile = None,
    n_prompts: Annotated[int, typer.Option(help="Captions of shapes to take, without --prompts.")] = 8,
    seeds: options.Seeds = "0",
    num_inference_steps: options.NumInferenceSteps = 20,
    height: options.Height = None,
    width: options.Width = None,
    call: options.Call = None,
    streams: options.Streams = "image",
    sites: options.Sites = "block_output",
    blocks: options.Blocks = None,
    steps: options.Steps = None,
    branches: options.Branches = None,
    channels: options.Channels = None,
    tokens: options.ImageTokens = None,
    tensors: options.Tensors = True,
    batch_size: Annotated[int, typer.Option(help="Images generated together.")] = 1,
    forecast_only: Annotated[bool, typer.Option("--forecast", help="Only say what it would take.")] = False,
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Record hidden states into a zarr store."""
    kept = options.selection(streams, sites, blocks, steps, branches, channels, tokens)
    arguments = options.named_values(
        "--call", call, height=height, width=width, num_inference_steps=num_inference_steps
    )
    arguments["seeds"] = options.numbers("--seeds", seeds)
    chosen = options.read_prompts(prompts) if prompts is not None else None

    from ditscope.recording.record import record as open_recording
    from ditscope.shapes.prompt_sets import prompts as captions

    chosen = chosen or captions(n_prompts)
    dit = options.open_model(name, dtype, device)
    with open_recording(dit, out, tensors=tensors, batch_size=batch_size, **kept) as recording:
        typer.echo(repr(recording.forecast(chosen, **arguments)))
        if not forecast_only:
            typer.echo(repr(recording.generate(chosen, **arguments)))
