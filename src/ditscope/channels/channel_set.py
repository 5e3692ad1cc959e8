"""Sets of channels, per block: what a ranking gives and what an edit takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope._display import first_rows, html_table, text_table
from ditscope.channels.json_form import JsonForm
from ditscope.checks import Address, NamedBlock, find_blocks
from ditscope.errors import InputError

PADDING = -1
"""Fills the end of a set that is smaller than the largest one."""


@dataclass(frozen=True)
class _SetBlock:
    """A block that a set has channels for; name and kind are empty where it knows only the index, which is -1 where
    it knows only the name.
    """

    index: int
    name: str = ""
    kind: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class ChannelSet(JsonForm):
    """Channels of one stream, as true channel ids, for each block (or any other kept dimensions).

    Sets are equal if ids, coordinates, stream, label, match ratio, what is matched and control are.

    Attributes:
        ids: int ``[*kept, (draw,) rank]``; -1 pads sets that differ in size.
        stream: ``image`` or ``text``.
        label: where the set comes from, in words, such as ``top 12 by mean_abs``.
        match_ratio: of a set that matches another on a recording, its summed energy or magnitude over the other's,
            ``[*kept, draw]``; None otherwise.
        control: whether the set is a control: one whose edit should not have the effect under test.
        matched: what it matches of the other, such as ``recorded energy``; "" if it matches none.

    Raises:
        InputError: ids that are no whole numbers with a dimension ``rank``, no ids at all, a negative id, an
            id twice in one set, or an unknown stream.

    Examples:
        >>> massive["single.5"].shape, massive.k, massive.label
        ((6,), 6, 'top 6 by mean_abs')
    """

    ids: xr.DataArray
    stream: str = "image"
    label: str = "channels"
    match_ratio: xr.DataArray | None = None
    control: bool = False
    matched: str = ""

    def __post_init__(self) -> None:
        checks.stream(self.stream)
        if "rank" not in self.ids.dims or not np.issubdtype(self.ids.dtype, np.integer):
            raise InputError(
                f"{self.ids.dtype} ids with dims {', '.join(map(str, self.ids.dims))}",
                "integers with a last dimension 'rank'",
                "Use ChannelSet.of(...) for explicit ids.",
            )
        ids = self.ids.transpose(..., "rank")
        ordered = np.sort(ids.values, axis=-1)
        twice = (ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] != PADDING)
        if (ordered == PADDING).all() or (ordered < PADDING).any() or twice.any():
            raise InputError(
                f"channels {_short(np.unique(ordered).tolist(), 8)}, twice in one set: {bool(twice.any())}",
                "distinct whole numbers from 0, and at least one",
                f"Pass channel ids, with {PADDING} to fill up smaller sets.",
            )
        object.__setattr__(self, "ids", ids)

    @classmethod
    def of(
        cls,
        channels: Mapping[Address, Iterable[int]] | Iterable[int],
        *,
        blocks: Iterable[int] | Iterable[NamedBlock] | None = None,
        stream: str = "image",
        label: str = "explicit channels",
        control: bool = False,
    ) -> ChannelSet:
        """A set of explicit channel ids.

        Args:
            channels: the ids of each block, or one list of ids for all ``blocks``.
            blocks: the blocks that the one list is for; None means any block. With ``blocks=dit.blocks`` the ids
                of each block can be given by kind (``single``) or negative index as well. Without, they are given
                by index, or all by name (``single.5``), and go by those names wherever the set is used.
            stream: ``image`` or ``text``.
            label: what to call the set.
            control: whether the set is a control.

        Raises:
            InputError: for no ids, a negative id, an id named twice, or a block that cannot be resolved.

        Examples:
            >>> chosen = ds.ChannelSet.of({"single.5": [3, 77], "single.4": [3]})
            >>> chosen["single.5"].tolist()
            [3, 77]
        """
        listed = None if blocks is None else [_set_block(block) for block in checks.several(blocks)]
        if isinstance(channels, Mapping):
            pairs = [
                (block, _explicit(ids))
                for address, ids in channels.items()
                for block in ([_set_block(address)] if listed is None else find_blocks(listed, address))
            ]
        else:
            ids = _explicit(channels)
            if listed is None:
                return cls(xr.DataArray(ids, dims="rank"), stream, label, control=control)
            pairs = [(block, ids) for block in listed]
        indices = [block.name if block.index < 0 else block.index for block, _ in pairs]
        if not pairs or len(set(indices)) < len(indices) or len(set(map(type, indices))) > 1:
            raise InputError(
                f"channels for blocks {indices}",
                "each block once, at least one, and all by index or all by name",
                "Pass {0: [3, 7]}.",
            )
        table = np.full((len(pairs), max(len(ids) for _, ids in pairs)), PADDING)
        for row, (_, ids) in zip(table, pairs, strict=True):
            row[: len(ids)] = ids
        coords: dict[str, Any] = {"block": indices}
        if all(block.name for block, _ in pairs):
            coords |= {
                f"block_{word}": ("block", [getattr(b, word) for b, _ in pairs]) for word in ("name", "kind")
            }
        return cls(xr.DataArray(table, dims=("block", "rank"), coords=coords), stream, label, control=control)

    def __getitem__(self, block: Any) -> np.ndarray:
        """Channel ids int ``[rank]`` of a block, given as index, negative index, name, kind or block.

        A negative index counts from the last block of the set.

        Raises:
            InputError: the set has no such block, or several, or it has several draws or further dimensions.
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
        """The sets at these labels of the kept dimensions (``draw`` included); a block as in ``set[block]``.

        Examples:
            >>> ranking.random(6, draws=3).sel(draw=1, block="single.5").ids.dims
            ('rank',)
        """
        unknown = [dim for dim in labels if dim not in self.ids.dims or dim == "rank"]
        if unknown:
            raise InputError(
                f"dimension {unknown[0]!r}",
                f"one of {', '.join(self.kept) or 'none: the set has no kept dimension'}",
                "Pass a kept dimension.",
            )
        block = labels.get("block")
        if block is not None and not isinstance(block, slice | xr.DataArray):
            one = isinstance(block, str) or not isinstance(block, Iterable)
            labels["block"] = self.ids["block"].values[
                self._position(block) if one else [self._position(entry) for entry in block]
            ]
        try:
            ids = self.ids.sel(labels)
            ratio = self.match_ratio
            if ratio is not None:
                ratio = ratio.sel({dim: at for dim, at in labels.items() if dim in ratio.dims})
        except KeyError as error:
            raise InputError(
                f"label {error}", "a label that the set has", "See .ids for the labels."
            ) from error
        return replace(self, ids=ids, match_ratio=ratio)

    def draw(self, number: int) -> ChannelSet:
        """The set of one random draw; a set without draws is its own and only draw 0."""
        checks.whole_number("draw", number, least=0, most=self.draws - 1)
        if "draw" not in self.ids.dims:
            return self
        ratio = self.match_ratio
        if ratio is not None and "draw" in ratio.dims:
            ratio = ratio.isel(draw=number)
        return replace(self, ids=self.ids.isel(draw=number), match_ratio=ratio)

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
    def blocks(self) -> list[int | str] | None:
        """Indices of the blocks that have a set, or names where it has only those; None where one holds for any."""
        return self.ids["block"].values.tolist() if "block" in self.ids.dims else None

    def _position(self, block: Any) -> int:
        """Where a block's set is along ``block``."""
        coords = self.ids.coords
        names, kinds = (
            coords[word].values.tolist() if word in coords else None for word in ("block_name", "block_kind")
        )
        named = self.ids["block"].dtype.kind not in "iu"
        own = [
            _SetBlock(
                -1 if isinstance(index, str) else index,
                names[at] if names else "",
                kinds[at] if kinds else "",
            )
            for at, index in enumerate(self.blocks or ())
        ]
        address = (block.name if named else block.index) if hasattr(block, "kind") else block
        try:
            if named and not isinstance(address, str):
                raise InputError(f"block {block!r}", "the name of a block", "Pass dit.blocks[...].name.")
            matching = find_blocks(sorted(own, key=lambda entry: entry.index), [address])
        except InputError as error:
            listed = _short([entry.name or entry.index for entry in own], 12)
            raise InputError(
                error.found,
                f"a block that the set has ({listed})",
                "Rank that block too, or pass one of these.",
            ) from error
        if len(matching) > 1:
            listed = _short([entry.name or entry.index for entry in matching], 12)
            raise InputError(f"{block!r}, which stands for {listed}", "one block", "Name one of them.")
        return own.index(matching[0])

    def _rows(self, most: int) -> list[tuple[str, str]]:
        first = self.draw(0).ids
        first = first.isel({dim: 0 for dim in first.dims if dim not in ("block", "rank")})
        if "block" not in first.dims:
            return [("any block", _ids_text(first.values))]
        names = first["block_name" if "block_name" in first.coords else "block"].values
        rows = [(f"block {name}", _ids_text(row)) for name, row in zip(names, first.values, strict=True)]
        return first_rows(rows, most, "blocks")

    def _summary(self) -> str:
        parts = [self.label, f"{self.stream} stream"]
        parts += [f"{self.ids.sizes[dim]} {dim}{'s' * (self.ids.sizes[dim] != 1)}" for dim in self.kept]
        if self.match_ratio is not None:
            low, high = float(self.match_ratio.min()), float(self.match_ratio.max())
            parts.append(f"{self.matched} {low:.2f} to {high:.2f} of what it matches")
        return f"ChannelSet: {', '.join(parts)}" + ", a control" * self.control

    def __repr__(self) -> str:
        return text_table(self._summary(), self._rows(8))

    def _repr_html_(self) -> str:
        return html_table(self._summary(), self._rows(20))


def _set_block(block: Any) -> NamedBlock:
    """A block as a set knows it, from a model's block or from an index."""
    if hasattr(block, "kind"):
        return block
    if isinstance(block, str) and block.rpartition(".")[2].isdecimal():
        return _SetBlock(-1, block, block.rpartition(".")[0])
    if not checks.is_whole(block) or block < 0:
        raise InputError(
            f"block {block!r} of explicit channels",
            "the block's index, from 0, or its name",
            "For kinds and negative indices pass ChannelSet.of({...}, blocks=dit.blocks).",
        )
    return _SetBlock(int(block))


def _explicit(channels: Iterable[int]) -> np.ndarray:
    if isinstance(channels, str) or not isinstance(channels, Iterable):
        raise InputError(
            f"channels of type {type(channels).__name__}",
            "a ChannelSet, channel ids, or ids by block",
            "Take ranking.top(12), or pass [3, 77].",
        )
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
