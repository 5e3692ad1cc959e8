"""What was at the places of edits that look back, in an earlier step of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.models.block import Block
    from ditscope.models.visits import Visit


class Earlier:
    """What edits that look back are told, by edit, block and branch, in float32.

    At ``block_output`` that is what a block adds to a stream, elsewhere the hidden state itself. It is read in each
    step after which the edit begins to act, and stays until the next such step.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, str], torch.Tensor] = {}
        self._taken: dict[tuple[int, int, str], torch.Tensor] = {}

    def read(
        self, position: int, edit: Edit, visit: Visit, block: Block, site: str, steps: Sequence[int]
    ) -> None:
        """Read what an edit will be told, at one of the sites where it is read; edits have acted there."""
        if site not in edit.read_sites:
            return
        takes, branches = site != edit.scope.site, edit.branches_read(visit, steps)
        if not branches or (edit.scope.branches_at(visit, steps) and not takes):
            return
        hidden = block.read(site, edit.scope.stream)
        for branch in branches:
            at, own = (position, block.index, branch), hidden[visit.slice(len(hidden), branch)].float()
            if takes:
                self._taken[at] = own.clone()
            else:
                self._kept[at] = own - self._taken[at] if at in self._taken else own.clone()

    def at(self, position: int, visit: Visit, block: Block, branch: str) -> torch.Tensor:
        """What an edit is told at a block and branch, ``[row, every token, every channel]``."""
        at = (position, block.index, branch)
        kept = self._kept[at]
        return self._taken[at] + kept if at in self._taken else kept
