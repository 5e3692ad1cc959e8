"""``dit.blocks``: all blocks in execution order, each found by its index or its name."""

from __future__ import annotations

from typing import Any

from ditscope._display import html_table, text_table
from ditscope.checks import find_blocks
from ditscope.errors import InputError
from ditscope.models.block import Block
from ditscope.vocabulary import SITES, STREAMS


class Blocks(tuple[Block, ...]):
    """Blocks in execution order: ``blocks[3]``, ``blocks["single.5"]``, ``blocks[:4]``; shown as a table of kinds."""

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        """The block at a position or of a name; of a slice, its blocks.

        Raises:
            InputError: no block, or several, have that name.
        """
        if isinstance(at, str):
            found = find_blocks(self, at)
            if len(found) > 1:
                raise InputError(
                    f"{at!r}, which stands for {len(found)} blocks",
                    "the name of one block",
                    f"Pass {found[0].name!r}, say, or blocks={at!r} where several are wanted.",
                )
            return found[0]
        taken = super().__getitem__(at)
        return Blocks(taken) if isinstance(at, slice) else taken

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for layout in {id(block.layout): block.layout for block in self}.values():
            alike = [block for block in self if block.layout is layout]
            first, last = alike[0], alike[-1]
            here = f"{first.index} to {last.index}" if len(alike) > 1 else str(first.index)
            names = f"{first.name} to {last.name}" if len(alike) > 1 else first.name
            streams: dict[str, list[str]] = {}
            for site in SITES:
                carried = " and ".join(stream for stream in STREAMS if stream in layout.streams(site))
                streams.setdefault(carried, []).append(site)
            rows += [
                (*((names, here) if not number else ("", "")), carried, " ".join(sites))
                for number, (carried, sites) in enumerate((s, at) for s, at in streams.items() if s)
            ]
        return rows

    def __repr__(self) -> str:
        return text_table(f"{len(self)} blocks", self._rows())

    def _repr_html_(self) -> str:
        return html_table(f"{len(self)} blocks", self._rows(), ("block", "index", "streams", "sites"))
