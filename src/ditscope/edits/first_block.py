"""Where edits first act in a visit: what comes before is that of the unedited run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit


def first_blocks(
    edits: Iterable[Edit], dit: DiT, visits: Sequence[Visit], steps: Sequence[int]
) -> list[int | None]:
    """For each visit, the index of the first block on which an edit acts, or that it looks back at; else None.

    Args:
        edits: each with one draw.
        dit: the model.
        visits: of the run.
        steps: the steps that the run makes.
    """
    blocks = [(edit, min((block.index for block in edit.chosen(dit.blocks)), default=None)) for edit in edits]
    return [
        min(
            (block for edit, block in blocks if block is not None and edit.branches_read(visit, steps)),
            default=None,
        )
        for visit in visits
    ]
