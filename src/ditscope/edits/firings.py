"""The record of what edits did: where they fired, how often, and how much energy they moved."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit

__all__ = ["Firings"]

_CHUNK = 1024
"""Firings whose energies are joined into one tensor: an object for each would be too many."""

_WORDS = ("edit", "branch", "block_name", "stream", "site", "matched")
_NUMBERS = {"step": "q", "sigma": "d", "block": "q", "rows": "q"}
_ENERGIES = ("energy", "removed", "moved")
_MEASURED = ("tokens", "channels", *_ENERGIES, "wanted", "reached")
_COLUMNS = (
    *(
        "edit",
        "row",
        "step",
        "sigma",
        "branch",
        "block",
        "block_name",
        "stream",
        "site",
        "tokens",
        "channels",
    ),
    *_ENERGIES,
    *("matched", "wanted", "reached"),
)


class Firings:
    """Where edits fired, how often, and how much energy they removed or moved.

    Energy is a sum of squares, in float32: ``energy`` of the whole stream at that place before the
    edit, ``removed`` by it (before minus after), ``moved`` by it (square of the difference). ``tokens`` and
    ``channels`` are those on which it acted in that image. Where its channels match others, as of
    :func:`ditscope.controls.matched`, ``matched`` says in what, ``wanted`` what that was of the others, and ``reached``
    what it came to. What is measured stays on the device, 28 bytes for each firing and image, until :meth:`table` is
    asked for.
    """

    def __init__(self) -> None:
        self._words: dict[str, dict[str, int]] = {name: {} for name in _WORDS}
        self._codes = {name: array("L") for name in _WORDS}
        self._numbers: dict[str, array[Any]] = {name: array(code) for name, code in _NUMBERS.items()}
        self._chunks: list[torch.Tensor] = []
        self._pending: list[torch.Tensor] = []

    def add(
        self,
        edit: Edit,
        context: EditContext,
        new: torch.Tensor,
        wanted: torch.Tensor | None = None,
        reached: torch.Tensor | None = None,
    ) -> None:
        """Note one firing, after which ``new`` float32 ``[row, token, channel]`` stands where ``context.old`` did.

        Args:
            edit: what fired.
            context: where.
            new: what stands there now.
            wanted: of channels that match others, what was to be matched ``[row]``.
            reached: tokens on which it acts if it has channels there, bool, broadcast to ``[row, token, channel]``;
                None for all.
        """
        old, visit, acts = context.old, context.visit, context.acts
        matched = "" if wanted is None or edit.channels is None else edit.channels.matched
        words = (edit.label, context.branch, context.block.name, context.stream, context.site, matched)
        numbers = (visit.step, visit.sigma, context.block.index, len(old))
        for known, codes, word in zip(self._words.values(), self._codes.values(), words, strict=True):
            codes.append(known.setdefault(word, len(known)))
        for column, number in zip(self._numbers.values(), numbers, strict=True):
            column.append(number)
        parts = (context.hidden.float().square(), old.square() - new.square(), (old - new).square())
        measured = old.new_full((len(_MEASURED), len(old)), float("nan"))
        measured[2:5] = torch.stack([part.sum(dim=(1, 2)) for part in parts])
        measured[0], measured[1] = old.shape[1:]
        # What keeps all channels has none to act on, and fires.
        tokens = reached if edit.spares_channels else acts
        if tokens is not None:
            measured[0] = tokens.expand(*old.shape[:2], -1).any(dim=2).sum(dim=1)
        if acts is not None:
            measured[1] = acts.expand(old.shape).any(dim=1).sum(dim=1)
        if wanted is not None:
            own = old.square() if acts is None else torch.where(acts, old, 0.0).square()
            energies = {"energy": own.sum(dim=(1, 2)), "removed": measured[3], "moved": measured[4]}
            measured[5], measured[6] = wanted, energies[matched]
        # A model that is spread over devices fires on all of them; the record is kept where it began.
        first = (self._chunks or self._pending or [measured])[0]
        self._pending.append(measured.to(first.device, non_blocking=True))
        if len(self._pending) == _CHUNK:
            self._join()

    def _join(self) -> None:
        if self._pending:
            self._chunks.append(torch.cat(self._pending, dim=1))
            self._pending.clear()

    def __len__(self) -> int:
        return len(self.table())

    def table(self) -> pd.DataFrame:
        """One row for each firing and image of the batch in which it acted on a token; row 0 is the first image."""
        self._join()
        if not self._chunks:
            numbers = {"row": int, "tokens": int, "channels": int} | dict.fromkeys(_ENERGIES, float)
            return pd.DataFrame(columns=list(_COLUMNS)).astype(numbers)
        rows = np.asarray(self._numbers["rows"])
        columns = {name: np.repeat(np.asarray(column), rows) for name, column in self._numbers.items()}
        for name, known in self._words.items():
            columns[name] = np.repeat(
                np.array(list(known), dtype=object)[np.asarray(self._codes[name])], rows
            )
        columns["row"] = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
        measured = torch.cat(self._chunks, dim=1).cpu().numpy().astype(np.float64)
        table = pd.DataFrame({**columns, **dict(zip(_MEASURED, measured, strict=True))})[list(_COLUMNS)]
        return table[table["tokens"] > 0].astype({"tokens": int, "channels": int}).reset_index(drop=True)

    def by_place(self) -> xr.Dataset:
        """What each edit did in each step and block: ``[edit, step, block]``, summed over images and branches.

        ``fired`` counts images, ``energy``, ``removed`` and ``moved`` are sums of squares as of the class, and
        ``l2_moved`` is the root of ``moved``; 0 where an edit did not fire. ``match_ratio`` is what channels that match
        others reached over what was wanted, NaN for all others. Several edits under one label are one.
        """
        table = self.table().assign(fired=1)
        keys = ["edit", "step", "block"]
        added = ["fired", *_ENERGIES, "wanted", "reached"]
        sums = table.groupby(keys, sort=True)[added].agg(lambda part: part.to_numpy().sum())
        every = pd.MultiIndex.from_product([sorted(set(table[key])) for key in keys], names=keys)
        # Only what did not fire is 0: a NaN that a model made stays one.
        placed = sums.reindex(every, fill_value=0).to_xarray()
        names = table.groupby("block")["block_name"].first()
        sigmas = table.groupby("step")["sigma"].first()
        placed = placed.assign_coords(block_name=("block", names), sigma=("step", sigmas))
        ratio = placed["reached"] / placed["wanted"]
        return placed.drop_vars(["wanted", "reached"]).assign(
            fired=placed["fired"].astype(int), l2_moved=np.sqrt(placed["moved"]), match_ratio=ratio
        )
