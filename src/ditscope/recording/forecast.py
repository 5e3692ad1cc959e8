"""What a recording of a model would take, from the model's configuration alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ditscope.cache.layout import Forecast, forecast, readable_bytes
from ditscope.cache.schema import Schema, StreamSpec
from ditscope.checks import whole_number
from ditscope.errors import InputError
from ditscope.models.configuration import ModelConfiguration
from ditscope.models.visits import Schedule
from ditscope.recording.selection import Selection


def recording_schema(
    configuration: ModelConfiguration,
    height: int,
    width: int,
    num_inference_steps: int,
    *,
    tensors: bool = True,
    stats: bool = True,
    guided: bool | None = None,
    binned: bool | None = None,
    dtype: str = "bfloat16",
    text_tokens: int | None = None,
    **selected: Any,
) -> Schema:
    """The schema of a recording of one sample; its sigmas and timesteps, which no configuration has, are 0.

    Args:
        configuration: the model's.
        height: of the image in pixels.
        width: of the image in pixels.
        num_inference_steps: number of steps that are run; an image-to-image call runs the last ones only.
        tensors: keep hidden states.
        stats: keep statistics over tokens.
        guided: whether classifier-free guidance is asked for; None for the pipeline's own default.
        binned: whether the image is generated at the nearest trained size and resized; None for the
            pipeline's own default.
        dtype: of the hidden states.
        text_tokens: length of the text stream, which no configuration has.
        **selected: streams, sites, blocks, steps, branches and channels, as of :func:`ditscope.record`.

    Raises:
        InputError: the pipeline does not accept the size, a number or name cannot be used, or text tokens
            are given without the text stream or the other way round.
        UnsupportedError: a selected block does not carry a stream at a site, or the pipeline has no trained
            sizes to choose from.
    """
    chosen = Selection.of(configuration, **selected)
    if ("text" in chosen.streams) != (text_tokens is not None):
        raise InputError(
            f"streams {', '.join(chosen.streams)} and text_tokens={text_tokens}",
            "the length of the text with the text stream, and neither without the other",
            "Name the text stream and give its length, or leave both out.",
        )
    zeros = (0.0,) * whole_number("num_inference_steps", num_inference_steps)
    grid = configuration.grid(height, width, binned)
    return chosen.schema(
        configuration,
        Schedule(zeros, zeros, configuration.branches(guided)),
        tokens={"image": grid[0] * grid[1], "text": text_tokens or 0},
        grid=grid,
        latent_channels=configuration.token_latent_channels,
        image_size=configuration.image_size(height, width, binned),
        dtype=dtype,
        tensors=tensors,
        stats=stats,
    )


def forecast_recording(
    configuration: ModelConfiguration, height: int, width: int, num_inference_steps: int, **kept: Any
) -> Forecast:
    """Bytes and files of a recording of one sample; arguments and errors are those of :func:`recording_schema`."""
    return forecast(recording_schema(configuration, height, width, num_inference_steps, **kept), 1)


def describe_recording(configuration: ModelConfiguration, schema: Schema) -> str:
    """What :func:`recording_schema` is of, and what a sample takes in full and as statistics only, in three lines."""
    kept, every = len(schema.blocks), len(configuration.blocks)
    full, statistics = (
        forecast(replace(schema, tensors=tensors, stats=True), 1) for tensors in (True, False)
    )
    return "\n".join(
        (
            f"{configuration.name}: {configuration.family.name}, "
            f"{kept if kept == every else f'{kept} of {every}'} blocks of {schema.width} channels, "
            f"{' and '.join(map(_tokens, schema.streams))}, {len(schema.steps)} steps, "
            f"branches {' '.join(schema.branches)}",
            f"  a full recording of a sample   {readable_bytes(full.total)} in {full.shards} files",
            f"  statistics only                {readable_bytes(statistics.total)} in {statistics.shards} files",
        )
    )


def _tokens(stream: StreamSpec) -> str:
    size = f"{stream.grid_height} x {stream.grid_width}" if stream.has_grid else str(stream.tokens)
    return f"{size} {stream.name} tokens"
