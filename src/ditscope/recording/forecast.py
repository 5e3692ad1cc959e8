"""What a recording of a model would take, from the model's configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ditscope._display import text_table
from ditscope.cache.forecast import Forecast, forecast
from ditscope.cache.layout import readable_bytes
from ditscope.cache.preflight import fitting_shard_bytes
from ditscope.cache.schema import Schema, StreamSpec
from ditscope.checks import whole_number
from ditscope.errors import InputError
from ditscope.models.configuration import ModelConfiguration
from ditscope.models.visits import Schedule
from ditscope.recording.selection import Selection

_FEW_TOKENS, _FEW_CHANNELS = 256, 64


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
        text_tokens: length of the text stream; by default the longest that the pipeline's call makes of a prompt.
        **selected: streams, sites, blocks, steps, branches and channels, as of :func:`ditscope.record`.

    Raises:
        InputError: the pipeline does not accept the size, a number or name cannot be used, or text tokens
            are given without the text stream, or left out where the pipeline's call does not say their number.
        UnsupportedError: a selected block does not carry a stream at a site, or the pipeline has no trained
            sizes to choose from.

    Examples:
        >>> flux = ds.models.read_configuration("black-forest-labs/FLUX.1-dev")
        >>> schema = ds.recording.recording_schema(flux, 1024, 1024, 28, blocks="single", steps=[0, -1])
        >>> len(schema.blocks), len(schema.steps), schema.width
        (38, 2, 3072)
    """
    chosen = Selection.of(configuration, **selected)
    if text_tokens is None and "text" in chosen.streams:
        text_tokens = configuration.text_tokens
    if ("text" in chosen.streams) != (text_tokens is not None):
        raise InputError(
            f"streams {', '.join(chosen.streams)} and text_tokens={text_tokens}",
            "the length of the text with the text stream, and neither without the other",
            "Name the text stream and give its length, or leave both out.",
        )
    zeros = (0.0,) * whole_number("num_inference_steps", num_inference_steps)
    grid = configuration.grid(height, width, binned)
    schema = chosen.schema(
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
    return replace(schema, shard_bytes=fitting_shard_bytes(schema))


def forecast_recording(
    configuration: ModelConfiguration, height: int, width: int, num_inference_steps: int, **kept: Any
) -> Forecast:
    """Bytes and files of a recording of one sample; arguments and errors are those of :func:`recording_schema`.

    Examples:
        >>> flux = ds.models.read_configuration("black-forest-labs/FLUX.1-dev")
        >>> needed = ds.recording.forecast_recording(flux, 1024, 1024, 28, blocks="single")
    """
    return forecast(recording_schema(configuration, height, width, num_inference_steps, **kept), 1)


def choices(configuration: ModelConfiguration, schema: Schema) -> dict[str, dict[str, Any]]:
    """Ways to keep less than a schema does: option of the command line -> the same in Python."""
    kinds = dict.fromkeys(block.kind for block in schema.blocks)
    steps, image = [step.index for step in schema.steps], [s for s in schema.streams if s.has_grid]
    found: dict[str, dict[str, Any]] = {"--no-tensors": {"tensors": False}}
    if len(kinds) > 1 and len(schema.blocks) == len(configuration.blocks):
        found |= {f"--blocks {kind}": {"blocks": kind} for kind in kinds}
    if len(steps) > 4:
        found[f"--steps {steps[0]}:{steps[-1] + 1}:4"] = {"steps": range(steps[0], steps[-1] + 1, 4)}
    if len(steps) > 1:
        found["--steps -1"] = {"steps": -1}
    if len(schema.branches) > 1:
        found["--branches cond"] = {"branches": "cond"}
    if image and image[0].keeps_all and image[0].tokens > _FEW_TOKENS:
        found[f"--tokens {_FEW_TOKENS}"] = {"tokens": _FEW_TOKENS}
    if len(schema.channels) > _FEW_CHANNELS:
        found[f"--channels 0:{_FEW_CHANNELS}"] = {"channels": range(_FEW_CHANNELS)}
    return found


def describe_recording(configuration: ModelConfiguration, schema: Schema, fewer: Mapping[str, Schema]) -> str:
    """What :func:`recording_schema` is of, what a sample takes of it, and what it would take of ``fewer``, by name.

    Examples:
        >>> flux = ds.models.read_configuration("black-forest-labs/FLUX.1-dev")
        >>> whole, few = (ds.recording.recording_schema(flux, 1024, 1024, 28, steps=steps) for steps in (None, [-1]))
        >>> text = ds.recording.describe_recording(flux, whole, {"steps=[-1]": few})
    """
    kept, every = len(schema.blocks), len(configuration.blocks)
    full = forecast(schema, 1)
    rows = [("a sample", f"{readable_bytes(full.total)} in {full.shards} files")]
    for option, less in fewer.items():
        total = forecast(less, 1).total
        rows.append((option, f"{readable_bytes(total)}, {100 * total / full.total:.2g} % of it"))
    varies = "up to " * (
        configuration.family.text_length_varies or not configuration.family.text_padding_kept
    )
    return text_table(
        f"{configuration.name}: {configuration.family.name}, "
        f"{kept if kept == every else f'{kept} of {every}'} blocks of {schema.width} channels, "
        f"{' and '.join(_tokens(stream, varies) for stream in schema.streams)}, {len(schema.steps)} steps, "
        f"branches {' '.join(schema.branches)}",
        rows,
    )


def _tokens(stream: StreamSpec, varies: str) -> str:
    kept = "" if stream.keeps_all else f"{stream.kept_tokens} of "
    size = (
        f"{kept}{stream.grid_height} x {stream.grid_width}" if stream.has_grid else f"{varies}{stream.tokens}"
    )
    return f"{size} {stream.name} tokens"
