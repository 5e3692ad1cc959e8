"""``ditscope forecast``: what a recording would take, without the weights."""

from __future__ import annotations

from typing import Annotated

import typer

from ditscope.cli import _options as options

__all__ = ["forecast"]


def forecast(
    name: options.Model,
    height: options.Height = None,
    width: options.Width = None,
    num_inference_steps: options.NumInferenceSteps = 28,
    guided: Annotated[
        bool | None, typer.Option(help="With true classifier-free guidance; by default as the pipeline does.")
    ] = None,
    binned: Annotated[
        bool | None,
        typer.Option(help="Generated at the nearest trained size; by default as the pipeline does."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "bfloat16",
    tensors: options.Tensors = True,
    streams: options.Streams = "image",
    sites: options.Sites = "block_output",
    blocks: options.Blocks = None,
    steps: options.Steps = None,
    branches: options.Branches = None,
    channels: options.Channels = None,
    tokens: options.ImageTokens = None,
    text_tokens: Annotated[
        int | None,
        typer.Option(help="Length of the text stream; by default the longest that the call makes."),
    ] = None,
) -> None:
    """Say what recording one image would take on disk, and what choices would save, from the configuration alone."""
    options.one_of("--dtype", dtype, ("float32", "bfloat16", "float16"))
    kept = options.selection(streams, sites, blocks, steps, branches, channels, tokens)
    kept |= {
        "guided": guided,
        "binned": binned,
        "dtype": dtype,
        "tensors": tensors,
        "text_tokens": text_tokens,
    }

    from ditscope.models.configuration import read_configuration
    from ditscope.recording.forecast import choices, describe_recording, recording_schema

    configuration = read_configuration(name)
    call = (*configuration.size(height, width), num_inference_steps)
    schema = recording_schema(configuration, *call, **kept)
    fewer = {
        option: recording_schema(configuration, *call, **{**kept, **chosen})
        for option, chosen in choices(configuration, schema).items()
    }
    typer.echo(describe_recording(configuration, schema, fewer))
