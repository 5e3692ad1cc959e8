"""How many bytes a recording of a model would take, from the model's configuration alone."""

from __future__ import annotations

from dataclasses import dataclass

from ditscope.cache.layout import Forecast, forecast, readable_bytes
from ditscope.cache.schema import BlockSpec, SampleSpec, Schema, StepSpec, StreamSpec, TrajectorySpec
from ditscope.errors import UnsupportedError, found_expected
from ditscope.models.outline import Outline
from ditscope.models.sites import check_sites, require_stream


@dataclass(frozen=True)
class Outlook:
    """What recording one sample of a model would take.

    Attributes:
        outline: the model.
        branches: the branches of each step.
        grid: (height, width) of the image stream in tokens.
        n_steps: number of steps.
        full: with hidden states and statistics.
        statistics: with statistics only.
    """

    outline: Outline
    branches: tuple[str, ...]
    grid: tuple[int, int]
    n_steps: int
    full: Forecast
    statistics: Forecast

    def __str__(self) -> str:
        outline = self.outline
        return "\n".join(
            (
                f"{outline.name}: {outline.family.name}, {len(outline.blocks)} blocks of {outline.width} channels, "
                f"{self.grid[0]} x {self.grid[1]} image tokens, {self.n_steps} steps, "
                f"branches {' '.join(self.branches)}",
                f"  a full recording of a sample   {readable_bytes(self.full.total)} in {self.full.shards} files",
                f"  statistics only                {readable_bytes(self.statistics.total)} in "
                f"{self.statistics.shards} files",
            )
        )


def outlook(
    outline: Outline,
    height: int,
    width: int,
    n_steps: int,
    *,
    guided: bool | None = None,
    dtype: str = "bfloat16",
    sites: tuple[str, ...] = ("block_output",),
    text_tokens: int | None = None,
) -> Outlook:
    """Forecast a recording of one sample, of every block and channel.

    Args:
        outline: the model.
        height: of the image in pixels.
        width: of the image in pixels.
        n_steps: number of steps.
        guided: whether classifier-free guidance is on; None for the pipeline's own default.
        dtype: of the hidden states.
        sites: what is recorded.
        text_tokens: length of the text stream, to record it as well.

    Raises:
        InputError: the image is smaller than a token, or a number or name cannot be used.
        UnsupportedError: a text stream is asked for, of a family that has none in every block.
    """
    sites = check_sites(sites)
    for layout in outline.family.block_lists:
        for site in sites:
            require_stream(layout, "image", site)
    grid, branches = outline.grid(height, width), outline.branches(guided)
    streams = [StreamSpec("image", grid[0] * grid[1], *grid)]
    if text_tokens is not None:
        if any("text" not in layout.outputs or layout.dropped for layout in outline.family.block_lists):
            raise UnsupportedError(
                found_expected(
                    f"text asked of {outline.family.name}, whose blocks do not all return it",
                    "the image stream",
                    "Leave the text tokens out.",
                )
            )
        streams.append(StreamSpec("text", text_tokens))
    steps = tuple(StepSpec(step, 0.0, 0.0) for step in range(n_steps))
    edge = outline.vae_pixels * outline.family.token_pixels

    def schema(tensors: bool) -> Schema:
        return Schema(
            streams=tuple(streams),
            sites=sites,
            blocks=tuple(BlockSpec(index, *block) for index, block in enumerate(outline.blocks)),
            steps=steps,
            branches=branches,
            channels=tuple(range(outline.width)),
            width=outline.width,
            dtype=dtype,
            samples=(SampleSpec("a prompt", 0),),
            tensors=tensors,
            trajectory=TrajectorySpec(steps, grid[0] * grid[1], outline.token_latent_channels),
            image_height=grid[0] * edge,
            image_width=grid[1] * edge,
        )

    return Outlook(outline, branches, grid, n_steps, forecast(schema(True)), forecast(schema(False)))
