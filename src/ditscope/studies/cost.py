"""What a claim would take on another model: disk and hours on a GPU, from the model's configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ditscope._display import text_table
from ditscope.cache.layout import readable_bytes
from ditscope.models.configuration import ModelConfiguration
from ditscope.recording.forecast import forecast_recording

__all__ = ["Cost", "Work", "cost"]

OPERATIONS_PER_SECOND = 4e14
"""Of an H100 or H200 in bfloat16; a little over half of what an H200 made of FLUX.1-dev at 1024 x 1024
(``benchmarks/on_a_gpu.md``: 178 ms a step), so that scoring, decoding and less busy kernels have room."""


@dataclass(frozen=True)
class Work:
    """What a design takes, whatever the model.

    Attributes:
        images: generated in all, edited ones too. One of which replay leaves a part to compute counts as that part.
        recorded: how many of them are recorded, by a name -> (images, arguments of
            :func:`ditscope.recording.forecast.recording_schema`).
    """

    images: float
    recorded: Mapping[str, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What it takes on one model.

    Attributes:
        model: its name.
        passes: calls of the transformer.
        gpu_hours: by :data:`OPERATIONS_PER_SECOND`; text encoders, autoencoder and metrics are not counted.
        disk_bytes: of recordings; images and scores come on top and are small beside them.
    """

    model: str
    passes: float
    gpu_hours: float
    disk_bytes: int

    def __str__(self) -> str:
        return text_table(
            f"Expected of {self.model}",
            [
                ("calls of the transformer", f"{self.passes:,.0f}"),
                (
                    "hours on an H100",
                    f"{self.gpu_hours:.2g}, at {OPERATIONS_PER_SECOND:.0e} operations a second",
                ),
                ("disk", readable_bytes(self.disk_bytes)),
            ],
        )


def cost(
    work: Work,
    configuration: ModelConfiguration,
    num_inference_steps: int,
    *,
    height: int = 1024,
    width: int = 1024,
    text_tokens: int = 512,
    guided: bool | None = None,
) -> Cost:
    """What a design takes on a model.

    Args:
        work: the design's.
        configuration: the model's, as of :func:`ditscope.models.configuration.read_configuration`.
        num_inference_steps: denoising steps.
        height: of the image in pixels.
        width: of the image in pixels.
        text_tokens: length of the text, where it is a stream.
        guided: with true classifier-free guidance; None for the pipeline's own default.
    """
    rows, columns = configuration.grid(height, width)
    streams = {stream for block in configuration.blocks for stream in block.layout.outputs}
    tokens = rows * columns + ("text" in streams) * text_tokens
    attention = 4 * len(configuration.blocks) * tokens**2 * configuration.width
    operations = 2 * configuration.parameters * tokens + attention
    passes = work.images * num_inference_steps * len(configuration.branches(guided))
    disk = sum(
        count
        * forecast_recording(configuration, height, width, num_inference_steps, guided=guided, **kept).total
        for count, kept in work.recorded.values()
    )
    return Cost(configuration.name, passes, passes * operations / OPERATIONS_PER_SECOND / 3600, disk)
