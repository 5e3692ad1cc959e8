"""What a store holds, fixed before the first byte is written.

A schema names every axis of every array: samples, steps, branches, blocks, streams, sites, channels.
Shapes, shards, labels and the forecast of bytes all follow from it (see ``layout`` and ``labels``), it
travels in the store's manifest as JSON, and it is part of the configuration hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ditscope.cache import schema_checks
from ditscope.cache.json_values import json_values
from ditscope.checks import finite_number, whole_number
from ditscope.errors import InputError, unknown_name
from ditscope.precision import DTYPES

COMPRESSIONS = ("zstd",)
"""Compressions by name; ``None`` stores the bytes as they are."""

SHARD_BYTES = 64 * 2**20
"""Default byte target of a shard."""

# No axis of a real model comes near these; a store from a stranger must not make us allocate one that does.
_MOST_TOKENS = 2**24
_MOST_CHANNELS = 2**20


@dataclass(frozen=True)
class StreamSpec:
    """A stream's tokens.

    Attributes:
        name: ``image`` or ``text``.
        tokens: length of the token axis; shorter token sequences of a stream without a grid are padded.
        grid_height: rows of the latent grid, for a stream whose tokens lie on one.
        grid_width: columns of that grid.
    """

    name: str
    tokens: int
    grid_height: int | None = None
    grid_width: int | None = None

    def __post_init__(self) -> None:
        schema_checks.name("stream", self.name)
        whole_number("tokens", self.tokens, most=_MOST_TOKENS)
        if (self.grid_height is None) != (self.grid_width is None):
            raise InputError(
                f"grid {self.grid_height} x {self.grid_width} for stream {self.name!r}",
                "both sides or neither",
                "Give grid_height and grid_width together.",
            )
        if self.grid_height is not None and self.grid_width is not None:
            whole_number("grid_height", self.grid_height, most=_MOST_TOKENS)
            whole_number("grid_width", self.grid_width, most=_MOST_TOKENS)
            if self.grid_height * self.grid_width != self.tokens:
                raise InputError(
                    f"{self.tokens} tokens on a {self.grid_height} x {self.grid_width} grid",
                    f"{self.grid_height * self.grid_width} tokens",
                    "Pass the latent grid after patching.",
                )

    @property
    def has_grid(self) -> bool:
        """Whether every token is real and lies at a ``y``, ``x``."""
        return self.grid_height is not None


@dataclass(frozen=True)
class BlockSpec:
    """A recorded block: its index in execution order, its name (``double.3``) and its kind (``double``)."""

    index: int
    name: str
    kind: str

    def __post_init__(self) -> None:
        whole_number("index", self.index, 0, 2**20)
        schema_checks.text("block name", self.name)
        schema_checks.text("block kind", self.kind)


@dataclass(frozen=True)
class StepSpec:
    """A scheduler step: its index, ``sigma`` (1 = noise, 0 = image) and ``timestep`` in the model's unit."""

    index: int
    sigma: float
    timestep: float

    def __post_init__(self) -> None:
        whole_number("index", self.index, 0, 2**20)
        finite_number("sigma", self.sigma)
        finite_number("timestep", self.timestep)


@dataclass(frozen=True)
class SampleSpec:
    """One generated image: one prompt with one seed."""

    prompt: str
    seed: int

    def __post_init__(self) -> None:
        schema_checks.text("prompt", self.prompt)
        whole_number("seed", self.seed, -(2**63), 2**63 - 1)


@dataclass(frozen=True)
class TrajectorySpec:
    """The denoising trajectory, always over all steps of the scheduler.

    Attributes:
        steps: every step of the run; the latents have one more entry, after the last step.
        tokens: latent tokens (of the image stream, as the transformer sees them).
        channels: channels of a latent token.
    """

    steps: tuple[StepSpec, ...]
    tokens: int
    channels: int

    def __post_init__(self) -> None:
        schema_checks.increasing("trajectory step", [step.index for step in self.steps])
        whole_number("tokens", self.tokens, most=_MOST_TOKENS)
        whole_number("channels", self.channels, most=_MOST_CHANNELS)


@dataclass(frozen=True)
class Schema:
    """Everything a store will hold.

    Attributes:
        streams: the recorded streams.
        sites: the recorded sites (``block_output``, ...).
        blocks: the recorded blocks, in execution order.
        steps: the recorded steps.
        branches: ``cond``, ``uncond``.
        channels: the recorded channels' true ids.
        width: the hidden width that ``channels`` are taken from.
        dtype: dtype of the hidden states and the transformer's output.
        samples: prompt and seed of every sample.
        tensors: whether hidden states are kept.
        stats: whether per-channel statistics are kept.
        trajectory: the trajectory's shape, or None to keep none.
        image_height: pixels, or None to keep no images.
        image_width: pixels.
        batch_size: samples generated together; numbers depend on it in the last bits, so it is recorded.
        compression: None or ``zstd``.
        shard_bytes: byte target of a shard.
    """

    streams: tuple[StreamSpec, ...]
    sites: tuple[str, ...]
    blocks: tuple[BlockSpec, ...]
    steps: tuple[StepSpec, ...]
    branches: tuple[str, ...]
    channels: tuple[int, ...]
    width: int
    dtype: str
    samples: tuple[SampleSpec, ...]
    tensors: bool = True
    stats: bool = True
    trajectory: TrajectorySpec | None = None
    image_height: int | None = None
    image_width: int | None = None
    batch_size: int = 1
    compression: str | None = None
    shard_bytes: int = SHARD_BYTES

    def __post_init__(self) -> None:
        schema_checks.distinct("stream", [stream.name for stream in self.streams])
        for site in self.sites:
            schema_checks.name("site", site)
        schema_checks.distinct("site", self.sites)
        schema_checks.distinct("branch", self.branches)
        for branch in self.branches:
            schema_checks.name("branch", branch)
        schema_checks.increasing("block", [block.index for block in self.blocks])
        schema_checks.increasing("step", [step.index for step in self.steps])
        whole_number("width", self.width, most=_MOST_CHANNELS)
        schema_checks.increasing("channel", self.channels)
        whole_number("channels", self.channels[-1], 0, self.width - 1)
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.compression not in (None, *COMPRESSIONS):
            raise unknown_name("compression", self.compression, (None, *COMPRESSIONS))
        if not self.samples:
            raise InputError("no samples", "at least one", "Pass prompts and seeds.")
        if not (self.tensors or self.stats):
            raise InputError("tensors=False and stats=False", "at least one of them", "Keep one.")
        if (self.image_height is None) != (self.image_width is None):
            raise InputError(
                f"image of {self.image_height} x {self.image_width} pixels",
                "both sides or neither",
                "Give image_height and image_width together.",
            )
        if self.image_height is not None:
            whole_number("image_height", self.image_height, most=2**16)
            whole_number("image_width", self.image_width, most=2**16)
        whole_number("batch_size", self.batch_size, most=2**20)
        whole_number("shard_bytes", self.shard_bytes, most=2**40)

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Names of the recorded streams."""
        return tuple(stream.name for stream in self.streams)

    def stream(self, name: str) -> StreamSpec:
        """The stream of that name.

        Raises:
            InputError: the store has no such stream.
        """
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise unknown_name("stream", name, self.stream_names)

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON values."""
        return json_values(asdict(self), "schema field")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Build a schema from :meth:`to_json`'s output.

        Raises:
            InputError: fields are missing, unknown or unusable.
        """
        known = {field.name for field in fields(cls)}
        if set(data) != known:
            odd = sorted(set(data) ^ known)
            raise InputError(
                f"a schema whose fields differ in {', '.join(odd)}",
                "the fields of cache version 1",
                "Open it with the ditscope version that wrote it.",
            )
        try:
            values = dict(data)
            values["streams"] = tuple(StreamSpec(**item) for item in data["streams"])
            values["blocks"] = tuple(BlockSpec(**item) for item in data["blocks"])
            values["steps"] = tuple(StepSpec(**item) for item in data["steps"])
            values["samples"] = tuple(SampleSpec(**item) for item in data["samples"])
            for name in ("sites", "branches", "channels"):
                values[name] = tuple(data[name])
            if data["trajectory"] is not None:
                trajectory = dict(data["trajectory"])
                trajectory["steps"] = tuple(StepSpec(**item) for item in trajectory["steps"])
                values["trajectory"] = TrajectorySpec(**trajectory)
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise InputError(
                f"an unreadable schema ({error})",
                "the fields of cache version 1",
                "Record again, or open it with the ditscope version that wrote it.",
            ) from error
