"""``ditscope forecast``: what a recording would take, without the weights."""

from __future__ import annotations

from typing import Annotated

import typer

from ditscope.cli import _options as options

__all__ = ["forecast"]


def forecast(
    name: options.Model,
    height: Annotated[int, typer.Option(help="Image height in pixels.")] = 1024,
    width: Annotated[int, typer.Option(help="Image width in pixels.")] = 1024,
    num_inference_steps: options.NumInferenceSteps = 28,
    guided: Annotated[
        bool | None, typer.Option(help="With true classifier-free guidance; by default as the pipeline does.")
    ] = None,
    binned: Annotated[
        bool | None,
        typer.Option(help="Generated at the nearest trained size; by default as the pipeline does."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "bfloat16",
    streams: options.Streams = "image",
    sites: options.Sites = "block_output",
    blocks: options.Blocks = None,
    steps: options.Steps = None,
    branches: options.Branches = None,
    channels: options.Channels = None,
    text_tokens: Annotated[int | None, typer.Option(help="Length of the text stream.")] = None,
) -> None:
    """Say what recording one image would take on disk, from the model's configuration alone."""
    kept = options.selection(streams, sites, blocks, steps, branches, channels)

    from ditscope.models.configuration import read_configuration
    from ditscope.recording.forecast import describe_recording, recording_schema

    configuration = read_configuration(name)
    schema = recording_schema(
        configuration,
        height,
        width,
        num_inference_steps,
        guided=guided,
        binned=binned,
        dtype=dtype,
        text_tokens=text_tokens,
        **kept,
    )
    typer.echo(describe_recording(configuration, schema))
