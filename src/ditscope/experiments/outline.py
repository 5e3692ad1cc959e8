"""What a sweep consists of, as plain values: all that its result says of runs, without the model or the metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, Self, TypeAlias, get_args

Images: TypeAlias = Literal["keep", "thumbnails", "drop"]

IMAGES: tuple[str, ...] = get_args(Images)


class RunKey(NamedTuple):
    """One run: an edit with one draw, of one cell of the grid, of one batch of samples; all by position."""

    cell: int
    edit: int
    draw: int
    batch: int


@dataclass(frozen=True)
class Outline:
    """What a sweep consists of.

    Attributes:
        dims: dimension of the grid -> its labels.
        edits: their names.
        draws: ``[cell][edit]``, how many each has.
        control: ``[edit]``, whether all that is applied under that name is a control.
        matched_to: ``[edit]``, what its channels match of others, in words; empty where they match nothing.
        metrics: of each, ``metric`` (its name), ``made_of``, ``unit``, ``paired``, ``over``, ``binary``, ``label``,
            ``damage`` and ``direction``.
        prompts: of each sample.
        seeds: of each sample.
        batch_size: samples generated together.
        images: what is kept of images.
        image_size: (height, width) of what is kept, in pixels; None where nothing is.
        attrs: of the result.
    """

    dims: Mapping[str, Sequence[Any]]
    edits: Sequence[str]
    draws: Sequence[Sequence[int]]
    control: Sequence[bool]
    matched_to: Sequence[str]
    metrics: Sequence[Mapping[str, Any]]
    prompts: Sequence[str]
    seeds: Sequence[int]
    batch_size: int
    images: str
    image_size: Sequence[int] | None
    attrs: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of labels of each dimension of the grid."""
        return tuple(map(len, self.dims.values()))

    @property
    def most_draws(self) -> int:
        """Length of the dimension ``draw``."""
        return max(max(cell) for cell in self.draws)

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return math.ceil(len(self.prompts) / self.batch_size)

    def positions(self, batch: int) -> range:
        """The samples of a batch."""
        return range(len(self.prompts))[batch * self.batch_size : (batch + 1) * self.batch_size]

    def runs(self, batch: int) -> list[RunKey]:
        """Every run of a batch, in the order of the result."""
        return [
            RunKey(cell, edit, draw, batch)
            for cell, edits in enumerate(self.draws)
            for edit, draws in enumerate(edits)
            for draw in range(draws)
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` gave.

        Raises:
            KeyError: a field is missing.
        """
        for metric in data["metrics"]:
            _ = [metric[name] for name in ("metric", "paired", "over", "binary")]
        return cls(**{field.name: data[field.name] for field in fields(cls)})
