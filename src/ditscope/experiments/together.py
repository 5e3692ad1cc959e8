"""Several edits in one forward pass: the batch comes once for each of them, one copy after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditscope.edits.applying import EditedVisit
from ditscope.errors import InputError
from ditscope.models.visits import Visit
from ditscope.vocabulary import passing_order

if TYPE_CHECKING:
    from ditscope.experiments.conditions import Condition
    from ditscope.models.dit import DiT
    from ditscope.tracing.batches import Batch


class EditedTogether:
    """What to do at a visit of several copies of a batch so that each has its own edits.

    Args:
        dit: the model.
        conditions: of each copy, with one draw.
        steps: the steps that the run makes.
        batch: the samples, of which the run has a copy for each of these.

    Attributes:
        visitors: of each copy, with its firings.
    """

    def __init__(self, dit: DiT, conditions: Sequence[Condition], steps: Sequence[int], batch: Batch) -> None:
        self._dit, self._copies = dit, len(conditions)
        self.visitors = [
            each.visitor(dit, steps, positions=batch.positions, samples=batch.samples) for each in conditions
        ]
        every = [edit for each in conditions for edit in each.edits]
        self._places = passing_order(
            {site for edit in every for site in edit.read_sites}, {edit.scope.stream for edit in every}
        )

    def __call__(self, visit: Visit) -> None:
        """Apply the edits of every copy to every block of a visit, in execution order."""
        if self._copies == 1:
            self.visitors[0](visit)
            return
        # As of require_apart, all are edited.
        visitors = [visitor for visitor in self.visitors if isinstance(visitor, EditedVisit)]
        own = [OwnVisit(**vars(visit), copy=copy, copies=self._copies) for copy in range(self._copies)]
        for block in self._dit.blocks:
            for site, stream in self._places:
                for visitor, own_visit in zip(visitors, own, strict=True):
                    visitor.look(own_visit, block, site)
                for visitor, own_visit in zip(visitors, own, strict=True):
                    visitor.apply_at(own_visit, block, site, stream)


def require_apart(condition: Condition) -> None:
    """Refuse, before a run, what cannot share a forward pass with others.

    Raises:
        InputError: a guidance, which makes further forwards; or an edit that freezes a LayerNorm, which all copies
            share.
    """
    if condition.guidance is not None or any(edit.freeze_layernorm for edit in condition.edits):
        what = "freeze_layernorm" if condition.guidance is None else repr(condition.guidance)
        raise InputError(
            f"{what} with several edits in a forward pass", "one edit in each", "Leave edits_per_forward out."
        )


def first_of(starts: Sequence[Sequence[int | None]]) -> list[int | None]:
    """For each visit the first block on which any of several runs acts; None where none does."""
    return [
        min((block for block in blocks if block is not None), default=None)
        for blocks in zip(*starts, strict=True)
    ]


def own_rows(rows: slice, copy: int, copies: int) -> slice:
    """Those of one copy among the rows of all."""
    size = (rows.stop - rows.start) // copies
    return slice(rows.start + copy * size, rows.start + (copy + 1) * size)


@dataclass(frozen=True)
class OwnVisit(Visit):
    """A visit whose rows are those of one copy of the batch."""

    copy: int
    copies: int

    def slice(self, n_rows: int, branch: str) -> slice:
        """As of :class:`Visit`, of the copy alone."""
        return own_rows(super().slice(n_rows, branch), self.copy, self.copies)
