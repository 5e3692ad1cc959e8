"""Sets of channels, per block: what a ranking gives and what an edit takes."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from ditscope.errors import InputError

PADDING = -1
"""Fills the end of a set that is smaller than the largest one."""


@dataclass(frozen=True, eq=False)
class ChannelSet:
    """Channels of one stream, as true channel ids, for each block (or any other kept dimensions).

    Attributes:
        ids: int ``[*kept, (draw,) rank]``; -1 pads sets that differ in size.
        stream: ``image`` or ``text``.
        label: where the set comes from, in words, such as ``top 12 by mean_abs``.
        energy_ratio: for an energy-matched set, its summed energy over that of the set it matches,
            ``[*kept, draw]``; None otherwise.
        control: whether the set is a control: one whose edit should not have the effect under test.
    """

    ids: xr.DataArray
    stream: str = "image"
    label: str = "channels"
    energy_ratio: xr.DataArray | None = None
    control: bool = False

    def __post_init__(self) -> None:
        if "rank" not in self.ids.dims or not np.issubdtype(self.ids.dtype, np.integer):
            raise InputError(
                f"{self.ids.dtype} ids with dims {', '.join(map(str, self.ids.dims))}",
                "integers with a last dimension 'rank'",
                "Use ChannelSet.of(...) for explicit ids.",
            )
        object.__setattr__(self, "ids", self.ids.transpose(..., "rank"))

    @classmethod
    def of(
        cls,
        channels: Mapping[int, Iterable[int]] | Iterable[int],
        *,
        blocks: Iterable[int] | None = None,
        stream: str = "image",
        label: str = "explicit channels",
    ) -> ChannelSet:
        """A set of explicit channel ids.

        Args:
            channels: the ids of each block, or one list of ids for all ``blocks``.
            blocks: block indices that the one list is for; None means any block.
            stream: ``image`` or ``text``.
            label: what to call the set.

        Raises:
            InputError: for no ids, a negative id, or an id named twice.
        """
        if isinstance(channels, Mapping):
            rows = {int(block): _explicit(ids) for block, ids in channels.items()}
        else:
            ids = _explicit(channels)
            if blocks is None:
                return cls(xr.DataArray(ids, dims="rank"), stream, label)
            rows = {int(block): ids for block in blocks}
        if not rows:
            raise InputError("no blocks", "at least one block", "Pass {block: [ids]}.")
        table = np.full((len(rows), max(map(len, rows.values()))), PADDING)
        for row, ids in zip(table, rows.values(), strict=True):
            row[: len(ids)] = ids
        return cls(xr.DataArray(table, dims=("block", "rank"), coords={"block": list(rows)}), stream, label)

    def __getitem__(self, block: Any) -> np.ndarray:
        """Channel ids int ``[rank]`` of a block, given as index, name, or an object with ``.index``.

        Raises:
            InputError: if the block has no set, or the set has several draws or further dimensions.
        """
        ids = self.ids
        if "block" in ids.dims:
            ids = ids.isel(block=self._position(block))
        if "draw" in ids.dims and ids.sizes["draw"] == 1:
            ids = ids.isel(draw=0)
        if ids.ndim > 1:
            rest = [str(dim) for dim in ids.dims if dim != "rank"]
            pick = ", ".join(f"{dim}=..." for dim in rest)
            raise InputError(
                f"one set for each {' and '.join(rest)}",
                "one set for a block",
                f"Use .sel({pick})[block] first.",
            )
        values = ids.values
        return values[values != PADDING]

    def sel(self, **labels: Any) -> ChannelSet:
        """The sets at these labels of the kept dimensions (``draw`` included)."""
        unknown = [dim for dim in labels if dim not in self.ids.dims or dim == "rank"]
        if unknown:
            raise InputError(
                f"dimension {unknown[0]!r}",
                f"one of {', '.join(self.kept) or 'none: the set has no kept dimension'}",
                "Pass a kept dimension.",
            )
        try:
            ids = self.ids.sel(labels)
            ratio = self.energy_ratio
            if ratio is not None:
                ratio = ratio.sel({dim: at for dim, at in labels.items() if dim in ratio.dims})
        except KeyError as error:
            raise InputError(
                f"label {error}", "a label that the set has", "See .ids for the labels."
            ) from error
        return replace(self, ids=ids, energy_ratio=ratio)

    def draw(self, number: int) -> ChannelSet:
        """The set of one random draw; a set without draws is its own and only draw 0."""
        if not 0 <= number < self.draws:
            raise InputError(f"draw {number}", f"0 to {self.draws - 1}", "Pass another draw.")
        if "draw" not in self.ids.dims:
            return self
        ratio = self.energy_ratio
        if ratio is not None and "draw" in ratio.dims:
            ratio = ratio.isel(draw=number)
        return replace(self, ids=self.ids.isel(draw=number), energy_ratio=ratio)

    @property
    def kept(self) -> tuple[str, ...]:
        """Dimensions that the set has one entry for, ``draw`` included."""
        return tuple(str(dim) for dim in self.ids.dims if dim != "rank")

    @property
    def k(self) -> int:
        """Size of the largest set."""
        return int((self.ids != PADDING).sum("rank").max())

    @property
    def draws(self) -> int:
        """Number of random draws; 1 where there is no draw dimension."""
        return int(self.ids.sizes.get("draw", 1))

    @property
    def blocks(self) -> list[int] | None:
        """Indices of the blocks that have a set; None where one set holds for any block."""
        return [int(block) for block in self.ids["block"].values] if "block" in self.ids.dims else None

    def _position(self, block: Any) -> int:
        labels = (
            self.ids["block"].values if "block" in self.ids.coords else np.arange(self.ids.sizes["block"])
        )
        wanted = block
        # A plain int has no `.index`; a str has, but as a method.
        if not isinstance(block, (str, int, np.integer)):
            wanted = getattr(block, "index", block)
        wanted = wanted.item() if isinstance(wanted, np.generic) else wanted
        if isinstance(wanted, str) and "block_name" in self.ids.coords:
            labels = self.ids["block_name"].values
        found = np.flatnonzero(labels == wanted)
        if len(found) != 1:
            listed = _short([str(label) for label in labels], 12)
            raise InputError(
                f"block {wanted!r}",
                f"a block that the set has ({listed})",
                "Rank that block too, or pass one of these.",
            )
        return int(found[0])

    def _rows(self, most: int) -> list[tuple[str, str]]:
        first = self.draw(0).ids
        first = first.isel({dim: 0 for dim in first.dims if dim not in ("block", "rank")})
        if "block" not in first.dims:
            return [("any block", _ids_text(first.values))]
        names = first["block_name"].values if "block_name" in first.coords else first["block"].values
        rows = [(f"block {name}", _ids_text(row)) for name, row in zip(names, first.values, strict=True)]
        return (
            rows if len(rows) <= most else [*rows[: most - 1], ("...", f"{len(rows) - most + 1} more blocks")]
        )

    def _summary(self) -> str:
        parts = [self.label, f"{self.stream} stream"]
        parts += [f"{self.ids.sizes[dim]} {dim}{'s' * (self.ids.sizes[dim] != 1)}" for dim in self.kept]
        if self.energy_ratio is not None:
            low, high = float(self.energy_ratio.min()), float(self.energy_ratio.max())
            parts.append(f"energy ratio {low:.2f} to {high:.2f}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        rows = "\n".join(f"  {name}: {ids}" for name, ids in self._rows(8))
        return f"<ChannelSet: {self._summary()}>\n{rows}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(ids)}</td></tr>"
            for name, ids in self._rows(20)
        )
        return f"<b>ChannelSet</b>: {html.escape(self._summary())}<table>{rows}</table>"


def _explicit(channels: Iterable[int]) -> np.ndarray:
    listed = list(channels)
    ids = np.asarray(listed)
    whole = ids.ndim == 1 and len(ids) > 0 and np.issubdtype(ids.dtype, np.integer)
    if not whole or (ids < 0).any() or len(np.unique(ids)) != len(ids):
        raise InputError(
            f"channels {_short(listed, 8)}", "distinct whole numbers from 0", "Pass channel ids."
        )
    return ids


def _ids_text(ids: np.ndarray) -> str:
    return _short([str(i) for i in ids if i != PADDING], 16)


def _short(items: Sequence[object], most: int) -> str:
    text = " ".join(str(item) for item in items[:most])
    return text if len(items) <= most else f"{text} ... ({len(items)} in all)"
