"""Where edits first tell in a visit: what comes before is that of the unedited run."""

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
    """For each visit, the index of the first block that runs otherwise under edits; None where none act.

    It is one behind the model's last block where that one's output is edited.

    Args:
        edits: each with one draw.
        dit: the model.
        visits: of the run.
        steps: the steps that the run makes.
    """
    blocks = [
        (edit.scope, edit.first_changed(dit.blocks) if edit.chosen(dit.blocks) else None) for edit in edits
    ]
    return [
        min(
            (block for scope, block in blocks if block is not None and scope.branches_at(visit, steps)),
            default=None,
        )
        for visit in visits
    ]
