"""How many bytes a recording of a model would take, from the model's configuration alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ditscope.cache.layout import Forecast, forecast, readable_bytes
from ditscope.cache.schema import BlockSpec, SampleSpec, Schema, StepSpec, StreamSpec, TrajectorySpec
from ditscope.checks import Address
from ditscope.errors import InputError
from ditscope.models.configuration import ModelConfiguration
from ditscope.models.visits import Schedule
from ditscope.recording.selection import Selection


@dataclass(frozen=True)
class Outlook:
    """What recording one sample of a model would take.

    Attributes:
        outline: the model.
        schema: what would be recorded, with hidden states and statistics.
        full: with hidden states and statistics.
        statistics: with statistics only.
    """

    outline: ModelConfiguration
    schema: Schema
    full: Forecast
    statistics: Forecast

    @property
    def branches(self) -> tuple[str, ...]:
        """The recorded branches of each step."""
        return self.schema.branches

    def __str__(self) -> str:
        outline, schema = self.outline, self.schema
        kept, every = len(schema.blocks), len(outline.blocks)
        return "\n".join(
            (
                f"{outline.name}: {outline.family.name}, {kept if kept == every else f'{kept} of {every}'} blocks "
                f"of {outline.width} channels, {' and '.join(map(_tokens, schema.streams))}, "
                f"{len(schema.steps)} steps, branches {' '.join(schema.branches)}",
                f"  a full recording of a sample   {readable_bytes(self.full.total)} in {self.full.shards} files",
                f"  statistics only                {readable_bytes(self.statistics.total)} in "
                f"{self.statistics.shards} files",
            )
        )


def _tokens(stream: StreamSpec) -> str:
    size = f"{stream.grid_height} x {stream.grid_width}" if stream.has_grid else str(stream.tokens)
    return f"{size} {stream.name} tokens"


def outlook(
    outline: ModelConfiguration,
    height: int,
    width: int,
    n_steps: int,
    *,
    guided: bool | None = None,
    binned: bool | None = None,
    dtype: str = "bfloat16",
    streams: Iterable[str] = ("image",),
    sites: Iterable[str] = ("block_output",),
    blocks: Address | Iterable[Address] | None = None,
    steps: Iterable[int] | None = None,
    branches: Iterable[str] | None = None,
    channels: Iterable[int] | None = None,
    text_tokens: int | None = None,
) -> Outlook:
    """Forecast a recording of one sample; what can be recorded can be forecast.

    Args:
        outline: the model.
        height: of the image in pixels.
        width: of the image in pixels.
        n_steps: number of steps that are run; an image-to-image call runs the last ones only.
        guided: whether classifier-free guidance is asked for; None for the pipeline's own default.
        binned: whether the image is generated at the nearest trained size and resized; None for the
            pipeline's own default.
        dtype: of the hidden states.
        streams: ``image``, ``text`` or both.
        sites: what is recorded, modulation included.
        blocks: indices, names or kinds of blocks; all by default.
        steps: step indices, negative ones counting from the last; all by default.
        branches: ``cond``, ``uncond``; all that are visited by default.
        channels: channel ids; all by default.
        text_tokens: length of the text stream, which no configuration tells.

    Raises:
        InputError: the pipeline does not accept the size, a number or name cannot be used, or text tokens
            are given without the text stream or the other way round.
        UnsupportedError: a selected block does not carry a stream at a site, or the pipeline has no trained
            sizes to choose from.
    """
    chosen = Selection.of(
        outline,
        streams=streams,
        sites=sites,
        blocks=blocks,
        steps=steps,
        branches=branches,
        channels=channels,
    )
    grid, image = outline.grid(height, width, binned), outline.image_size(height, width, binned)
    schedule = Schedule((0.0,) * n_steps, (0.0,) * n_steps, outline.branches(guided))
    run = tuple(StepSpec(step, 0.0, 0.0) for step in schedule.steps)
    kept = chosen.settled_steps(schedule)

    def schema(tensors: bool) -> Schema:
        return Schema(
            streams=_streams(chosen.streams, grid, text_tokens),
            sites=chosen.sites,
            blocks=tuple(
                BlockSpec(block.index, block.name, block.kind)
                for block in map(outline.blocks.__getitem__, chosen.blocks)
            ),
            steps=tuple(step for step in run if step.index in kept),
            branches=chosen.settled_branches(schedule),
            channels=chosen.channels,
            width=outline.width,
            dtype=dtype,
            samples=(SampleSpec("a prompt", 0),),
            tensors=tensors,
            trajectory=TrajectorySpec(run, grid[0] * grid[1], outline.token_latent_channels),
            image_height=image[0],
            image_width=image[1],
        )

    return Outlook(outline, schema(True), forecast(schema(True)), forecast(schema(False)))


def _streams(
    names: tuple[str, ...], grid: tuple[int, int], text_tokens: int | None
) -> tuple[StreamSpec, ...]:
    if ("text" in names) != (text_tokens is not None):
        raise InputError(
            f"streams {', '.join(names)} and text_tokens={text_tokens}",
            "the length of the text with the text stream, and neither without the other",
            "Name the text stream and give its length, or leave both out.",
        )
    image = StreamSpec("image", grid[0] * grid[1], *grid)
    return tuple(image if name == "image" else StreamSpec(name, text_tokens or 0) for name in names)
