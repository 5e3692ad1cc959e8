"""Where an edit acts: blocks, steps, branches and tokens of one stream at one site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ditscope import checks
from ditscope.channels.json_form import JsonForm
from ditscope.checks import Address, block_addresses
from ditscope.edits.tokens import Tokens, token_selection
from ditscope.errors import InputError
from ditscope.vocabulary import EDITABLE_SITES

if TYPE_CHECKING:
    from ditscope.models.visits import Visit

__all__ = ["Scope"]


@dataclass(frozen=True, eq=False)
class Scope(JsonForm):
    """Where an edit acts; None means everywhere.

    Attributes:
        blocks: block indices, negative ones counting from the last, block names such as ``single.5``, or
            kinds such as ``single`` for all blocks of a kind.
        steps: step indices; negative ones count from the last step.
        branches: ``cond``, ``uncond``.
        stream: ``image`` or ``text``.
        site: one of :data:`ditscope.vocabulary.EDITABLE_SITES`.
        tokens: a bool mask ``[y, x]``, which must be of the run's own grid, a bool mask ``[token]``, which only its
            length ties to a run, or token positions; labelled masks go by their names.

    Raises:
        InputError: a name that does not exist, an empty selection, or tokens that are neither a mask nor
            positions.
    """

    blocks: tuple[Address, ...] | None = None
    steps: tuple[int, ...] | None = None
    branches: tuple[str, ...] | None = None
    stream: str = "image"
    site: str = "block_output"
    tokens: Tokens | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checks.stream(self.stream)
        checks.name_of("site", self.site, EDITABLE_SITES)
        normal = {
            "blocks": block_addresses,
            "steps": lambda steps: checks.whole_numbers("steps", steps),
            "branches": checks.branches,
            "tokens": token_selection,
        }
        for name, check in normal.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check(getattr(self, name)))
        if self.stream != "image" and getattr(self.tokens, "ndim", 1) == 2:
            raise InputError(
                f"a mask [y, x] for the {self.stream} stream",
                "the image stream, which has a grid",
                "Pass positions.",
            )

    def branches_at(self, visit: Visit, steps: Sequence[int]) -> tuple[str, ...]:
        """The branches of a visit on which the edit acts, in a run that makes these steps.

        Raises:
            InputError: the scope has a step that the run does not make.
        """
        if visit.step not in checks.find_steps(steps, self.steps):
            return ()
        return tuple(branch for branch in visit.branches if self.branches is None or branch in self.branches)
