"""Carrying edits out inside a trace, and the record of what they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch

from ditscope.edits.channel_edits import Edit
from ditscope.errors import EditError, InputError
from ditscope.models.sites import require_stream
from ditscope.vocabulary import EDITABLE_SITES, STREAMS

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit


class Firings:
    """Where edits fired, how often, and how much energy they removed or moved.

    Energy is a sum of squares, in float32: ``energy`` of the whole stream at that place before the
    edit, ``removed`` by it (before minus after), ``moved`` by it (square of the difference).
    """

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    def add(
        self, edit: Edit, visit: Visit, branch: str, block: Block, hidden: torch.Tensor, old, new
    ) -> None:
        """Note one firing; ``hidden`` is the stream before the edit, ``old`` and ``new`` the edited part.

        All three are the rows of one branch: row 0 is the batch's first image.
        """
        energy = hidden.float().square().sum(dim=(1, 2))
        removed = (old.square() - new.square()).sum(dim=(1, 2))
        moved = (old - new).square().sum(dim=(1, 2))
        for row in range(len(hidden)):
            self._rows.append(
                {
                    "edit": edit.label,
                    "row": row,
                    "step": visit.step,
                    "sigma": visit.sigma,
                    "branch": branch,
                    "block": block.index,
                    "block_name": block.name,
                    "stream": edit.scope.stream,
                    "site": edit.scope.site,
                    "tokens": old.shape[1],
                    "channels": old.shape[2],
                    "energy": float(energy[row]),
                    "removed": float(removed[row]),
                    "moved": float(moved[row]),
                }
            )

    def __len__(self) -> int:
        return len(self._rows)

    def table(self) -> pd.DataFrame:
        """One row for each firing and image of the batch."""
        return pd.DataFrame(self._rows)


class EditedVisit:
    """What to do at a visit so that edits take effect: hand it to ``run_traced`` as ``at_visit``.

    Attributes:
        firings: what has fired so far.
    """

    def __init__(self, dit: DiT, edits: Sequence[Edit], n_steps: int) -> None:
        for edit in edits:
            edit.scope.check_against(dit.blocks, n_steps)
            _check_channels(edit, dit)
            _check_places(edit, dit)
        # Where a block passes one stream before the other, so do the edits.
        self._dit, self._n_steps = dit, n_steps
        self._edits = tuple(sorted(edits, key=lambda edit: STREAMS.index(edit.scope.stream)))
        self._blocks = [set(edit.chosen(dit.blocks)) for edit in self._edits]
        self.firings = Firings()
        self._fired = [False] * len(self._edits)

    def __call__(self, visit: Visit) -> None:
        """Apply the edits to every block of a visit, in execution order."""
        for block in self._dit.blocks:
            for site in EDITABLE_SITES:
                self.apply(visit, block, site)

    def apply(self, visit: Visit, block: Block, site: str) -> None:
        """Apply the edits that cover one site of one block."""
        for position, edit in enumerate(self._edits):
            acts_here = edit.scope.site == site and block.index in self._blocks[position]
            if acts_here and edit.scope.covers(visit, self._n_steps):
                self._fired[position] |= self._apply(edit, visit, block)

    def _apply(self, edit: Edit, visit: Visit, block: Block) -> bool:
        hidden = block.read(edit.scope.site, edit.scope.stream)
        ids = torch.as_tensor(edit.channels_at(block), device=hidden.device)
        positions = edit.scope.positions(hidden.shape[1], hidden.device)
        tokens = torch.arange(hidden.shape[1], device=hidden.device) if positions is None else positions
        if len(ids) == 0 or len(tokens) == 0:
            return False
        edited = hidden.clone()
        for branch in edit.scope.branches_of(visit):
            rows = visit.slice(len(hidden), branch)
            place = (rows, tokens[:, None], ids[None, :])
            old = hidden[place].float()
            new = edit.new_values(old, block, ids).to(hidden.dtype)
            edited[place] = new
            self.firings.add(edit, visit, branch, block, hidden[rows], old, new.float())
        block.write(edit.scope.site, edit.scope.stream, edited)
        return True

    def require_fired(self) -> None:
        """Refuse a run in which an edit never took effect.

        Raises:
            EditError: naming the edit.
        """
        for edit, fired in zip(self._edits, self._fired, strict=True):
            if not fired:
                raise EditError(
                    f"the edit '{edit.label}' fired nowhere ({edit.scope})",
                    "at least one block, step, branch and token that it covers",
                    "Widen its scope; without guidance there is no uncond branch.",
                )


def _check_places(edit: Edit, dit: DiT) -> None:
    for index in edit.chosen(dit.blocks):
        require_stream(dit.blocks[index].layout, edit.scope.stream, edit.scope.site)


def _check_channels(edit: Edit, dit: DiT) -> None:
    largest = int(edit.channels.ids.max())
    if largest >= dit.width:
        raise InputError(
            f"channel {largest} in the edit '{edit.label}'",
            f"channels under the model's width {dit.width}",
            "Rank the channels on this model.",
        )
    if edit.scope.stream != edit.channels.stream:
        raise InputError(
            f"channels of the {edit.channels.stream} stream in an edit of the {edit.scope.stream} stream",
            "one stream",
            "Rank that stream, or drop stream=.",
        )
    named = edit.scope.chosen(dit.blocks) if edit.scope.blocks is not None else ()
    acting = edit.chosen(dit.blocks)
    missing = [dit.blocks[index].name for index in named if index not in acting]
    if missing:
        raise InputError(
            f"no channels for block {', '.join(missing)}, which the edit '{edit.label}' names",
            "channels for every block that is named",
            "Rank these blocks too, or take them out of blocks=.",
        )
