"""What a store holds of each sample, fixed before the first byte is written.

A schema names every axis of every array but the samples, which a store gains as it grows: steps, branches, blocks,
streams, sites, channels. Shapes, shards, labels and the forecast of bytes all follow from it (see ``layout`` and
``labels``), it travels in the store's manifest as JSON, and it is part of the configuration hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ditscope.cache import schema_checks
from ditscope.cache.json_values import json_values
from ditscope.checks import finite_number, whole_number
from ditscope.errors import InputError, unknown_name
from ditscope.precision import DTYPES
from ditscope.vocabulary import READ_STATISTICS, site_spec

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
        token_ids: tokens whose hidden states are kept, in increasing order; None for all. Statistics are over all.
        random_tokens: how many tokens, drawn for each sample anew, have their hidden states kept; None for all.
    """

    name: str
    tokens: int
    grid_height: int | None = None
    grid_width: int | None = None
    token_ids: tuple[int, ...] | None = None
    random_tokens: int | None = None

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
        if self.token_ids is not None:
            schema_checks.increasing("token", self.token_ids)
            whole_number("token", self.token_ids[-1], 0, self.tokens - 1)
        if self.random_tokens is not None:
            whole_number("random_tokens", self.random_tokens, 1, self.tokens)
        if not self.keeps_all and (not self.has_grid or None not in (self.token_ids, self.random_tokens)):
            raise InputError(
                f"a choice of tokens of stream {self.name!r}",
                "chosen tokens or randomly drawn ones, of a stream whose tokens lie on a grid",
                "Choose tokens of the image stream, in one way.",
            )

    @property
    def keeps_all(self) -> bool:
        """Whether the hidden states of all tokens are kept."""
        return self.token_ids is None and self.random_tokens is None

    @property
    def kept_tokens(self) -> int:
        """Number of tokens whose hidden states are kept."""
        return self.random_tokens or (self.tokens if self.token_ids is None else len(self.token_ids))

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
class StoredSite:
    """A site as a store has it, in one stream.

    Attributes:
        stream: name of the stream.
        name: the site's name.
        blocks: indices of the blocks that it is recorded of, in execution order.
        dims: dims of its values.
        dtype: dtype of its values.
        lengths: lengths of dims that the schema has no other length of, such as ``frame`` of a video.
    """

    stream: str
    name: str
    blocks: tuple[int, ...]
    dims: tuple[str, ...]
    dtype: str
    lengths: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, stream: str, name: str, blocks: Iterable[int], dtype: str) -> StoredSite:
        """A site that ditscope knows, of a model whose hidden states have a dtype."""
        spec = site_spec(name)
        return cls(stream, name, tuple(blocks), spec.dims, spec.dtype or dtype)

    def __post_init__(self) -> None:
        for what in ("stream", "name"):
            schema_checks.name("site" if what == "name" else what, getattr(self, what))
        schema_checks.increasing("block", self.blocks)
        schema_checks.distinct("dim", self.dims)
        if self.dims[0] != "sample":
            raise InputError(f"dims {self.dims} of a site", "sample first", "The store is damaged.")
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        for dim, length in self.lengths.items():
            whole_number(dim, length, most=_MOST_TOKENS)

    @property
    def has_tokens(self) -> bool:
        """Whether there is a value for every token, as there is not of modulation."""
        return "token" in self.dims

    @property
    def folder(self) -> str:
        """Its group in the store."""
        return f"{self.stream}/{self.name}"


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
    """Everything a store will hold of a sample.

    Attributes:
        streams: the recorded streams.
        sites: the recorded sites of each stream, with their blocks.
        blocks: the recorded blocks, in execution order; every site has all or some of them.
        steps: the recorded steps.
        branches: ``cond``, ``uncond``.
        channels: the recorded channels' true ids.
        width: the hidden width that ``channels`` are taken from.
        dtype: dtype of the hidden states and the transformer's output.
        tensors: whether hidden states are kept.
        stats: whether per-channel statistics are kept.
        statistics: which, in order.
        trajectory: the trajectory's shape, or None to keep none.
        image_height: pixels, or None to keep no images.
        image_width: pixels.
        token_seed: of the random draws of tokens, with the position of the sample.
        batch_size: samples generated together; numbers depend on it in the last bits, so it is recorded.
        compression: None or ``zstd``.
        shard_bytes: byte target of a shard.
    """

    streams: tuple[StreamSpec, ...]
    sites: tuple[StoredSite, ...]
    blocks: tuple[BlockSpec, ...]
    steps: tuple[StepSpec, ...]
    branches: tuple[str, ...]
    channels: tuple[int, ...]
    width: int
    dtype: str
    tensors: bool = True
    stats: bool = True
    statistics: tuple[str, ...] = READ_STATISTICS
    trajectory: TrajectorySpec | None = None
    image_height: int | None = None
    image_width: int | None = None
    token_seed: int = 0
    batch_size: int = 1
    compression: str | None = None
    shard_bytes: int = SHARD_BYTES

    def __post_init__(self) -> None:
        schema_checks.distinct("stream", [stream.name for stream in self.streams])
        schema_checks.distinct("site", [site.folder for site in self.sites])
        schema_checks.distinct("branch", self.branches)
        for branch in self.branches:
            schema_checks.name("branch", branch)
        schema_checks.increasing("block", [block.index for block in self.blocks])
        known = {block.index for block in self.blocks}
        for site in self.sites:
            self.stream(site.stream)
            if not known.issuperset(site.blocks):
                raise InputError(
                    f"blocks {site.blocks} of site {site.name!r}",
                    f"among {sorted(known)}",
                    "List its blocks.",
                )
        schema_checks.increasing("step", [step.index for step in self.steps])
        whole_number("width", self.width, most=_MOST_CHANNELS)
        schema_checks.increasing("channel", self.channels)
        whole_number("channels", self.channels[-1], 0, self.width - 1)
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.compression not in (None, *COMPRESSIONS):
            raise unknown_name("compression", self.compression, (None, *COMPRESSIONS))
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
        schema_checks.distinct("statistic", self.statistics)
        if missing := [name for name in READ_STATISTICS if name not in self.statistics]:
            raise InputError(
                f"statistics without {', '.join(missing)}", "all that are known", "Keep them all."
            )
        for statistic in self.statistics:
            schema_checks.name("statistic", statistic)
        whole_number("token_seed", self.token_seed, 0, 2**63 - 1)
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

    @property
    def site_names(self) -> tuple[str, ...]:
        """Names of the recorded sites, each once."""
        return tuple(dict.fromkeys(site.name for site in self.sites))

    def site(self, stream: str, name: str) -> StoredSite:
        """The site of that name in a stream.

        Raises:
            InputError: the store has no such stream or site.
        """
        self.stream(stream)
        own = {site.name: site for site in self.sites if site.stream == stream}
        if name not in list(own):  # whatever it is
            raise unknown_name("site", name, tuple(own))
        return own[name]

    def blocks_of(self, site: StoredSite) -> tuple[BlockSpec, ...]:
        """The blocks that a site is recorded of."""
        return tuple(block for block in self.blocks if block.index in site.blocks)

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON values."""
        return json_values(asdict(self), "schema field")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Build a schema from :meth:`to_json`'s output.

        Raises:
            InputError: fields are missing, unknown or unusable.
        """
        known = {own.name for own in fields(cls)}
        if set(data) != known:
            odd = sorted(set(data) ^ known)
            raise InputError(
                f"a schema whose fields differ in {', '.join(odd)}",
                "the fields of cache version 1",
                "Open it with the ditscope version that wrote it.",
            )
        try:
            values = dict(data)
            values["streams"] = tuple(_spec(StreamSpec, item, "token_ids") for item in data["streams"])
            values["sites"] = tuple(_spec(StoredSite, item, "blocks", "dims") for item in data["sites"])
            values["blocks"] = tuple(BlockSpec(**item) for item in data["blocks"])
            values["steps"] = tuple(StepSpec(**item) for item in data["steps"])
            for name in ("branches", "channels", "statistics"):
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


def _spec(kind: type[Any], item: Mapping[str, Any], *lists: str) -> Any:
    """A dataclass from JSON, whose lists are tuples."""
    return kind(**{name: tuple(v) if name in lists and v is not None else v for name, v in item.items()})
