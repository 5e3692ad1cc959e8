"""Where edits first tell in a visit: what comes before is that of the unedited run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit


def recomputed_from(
    edits: Iterable[Edit], dit: DiT, visits: Sequence[Visit], steps: Sequence[int]
) -> list[int | None]:
    """For each visit, the first block that edits need to run: it runs otherwise, or they look back at it; else None.

    It is one behind the model's last block where that one's output is edited.

    Args:
        edits: each with one draw.
        dit: the model.
        visits: of the run.
        steps: the steps that the run makes.
    """
    blocks = [(edit, _first_needed(edit, dit)) for edit in edits]
    return [
        min(
            (block for edit, block in blocks if block is not None and edit.branches_read(visit, steps)),
            default=None,
        )
        for visit in visits
    ]


def _first_needed(edit: Edit, dit: DiT) -> int | None:
    chosen = edit.chosen(dit.blocks)
    if not chosen:
        return None
    return min(block.index for block in chosen) if edit.looks_back else edit.first_changed(dit.blocks)
