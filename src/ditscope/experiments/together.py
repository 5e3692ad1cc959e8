"""Several edits in one forward pass: the batch comes once for each of them, one copy after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditscope.edits.applying import EditedVisit
from ditscope.models.visits import Visit
from ditscope.vocabulary import EDITABLE_SITES

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.models.dit import DiT


class EditedTogether:
    """What to do at a visit of several copies of a batch so that each has its own edits.

    Args:
        dit: the model.
        edits: of each copy, with one draw.
        steps: the steps that the run makes.

    Attributes:
        visitors: of each copy, with its firings.
    """

    def __init__(self, dit: DiT, edits: Sequence[Sequence[Edit]], steps: Sequence[int]) -> None:
        self._dit, self._copies = dit, len(edits)
        own: Any = [_OwnModel(dit, copy, self._copies) for copy in range(self._copies)]
        self.visitors = [EditedVisit(model, each, steps) for model, each in zip(own, edits, strict=True)]

    def __call__(self, visit: Visit) -> None:
        """Apply the edits of every copy to every block of a visit, in execution order."""
        own = [OwnVisit(**vars(visit), copy=copy, copies=self._copies) for copy in range(self._copies)]
        for block in self._dit.blocks:
            for site in EDITABLE_SITES:
                for visitor, own_visit in zip(self.visitors, own, strict=True):
                    visitor.apply(own_visit, block, site)


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


class _Own:
    """Something whose other attributes are those of what it stands for."""

    def __init__(self, of: Any, copy: int, copies: int) -> None:
        self._of, self._copy, self._copies = of, copy, copies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


class _OwnModel(_Own):
    """A model whose run has the samples of one copy."""

    @property
    def run_state(self) -> Any:
        return _OwnRun(self._of.run_state, self._copy, self._copies)


class _OwnRun(_Own):
    @property
    def samples(self) -> Any:
        samples = self._of.samples
        return samples[own_rows(slice(0, len(samples)), self._copy, self._copies)]
