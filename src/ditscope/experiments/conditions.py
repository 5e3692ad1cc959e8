"""Conditions: edits that are applied together, or a guidance, under one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import Edit
from ditscope.edits.recomputed_from import recomputed_from
from ditscope.errors import InputError
from ditscope.guidance.from_edits import Guidance

if TYPE_CHECKING:
    from ditscope.guidance.guided_visit import GuidedVisit
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

Given: TypeAlias = Edit | Sequence[Edit] | Guidance
"""What stands under a name: an edit, several that are applied together, or a guidance."""


@dataclass(frozen=True)
class Condition:
    """One or several edits that are applied together, or a guidance, under one name; no edits for the baseline.

    Attributes:
        name: what it is called.
        edits: of the run, or of the guidance's degraded branch.
        guidance: None where the run itself is edited.
    """

    name: str
    edits: tuple[Edit, ...] = ()
    guidance: Guidance | None = None

    @property
    def control(self) -> bool:
        """Whether every edit of it is a control."""
        return bool(self.edits) and all(edit.control for edit in self.edits)

    @property
    def draws(self) -> int:
        """Number of runs: the most draws that an edit of it has."""
        if self.guidance is not None:
            return self.guidance.draws
        return max((edit.draws for edit in self.edits), default=1)

    def draw(self, number: int) -> Condition:
        """The condition of one run; an edit with fewer draws begins again with its first."""
        if self.guidance is not None:
            drawn = self.guidance.draw(number)
            return Condition(self.name, drawn.edits, drawn)
        return Condition(self.name, tuple(edit.draw(number % edit.draws) for edit in self.edits))

    def visitor(self, dit: DiT, steps: Sequence[int], **batch: Any) -> EditedVisit | GuidedVisit:
        """What to do at each visit; arguments and errors as of the one of the two."""
        if self.guidance is not None:
            return self.guidance.visitor(dit, steps, **batch)
        return EditedVisit(dit, self.edits, steps, **batch)

    def check(self, dit: DiT, probe: Probe, batches: Batches = ()) -> None:
        """Refuse, before a run, what the model, the probed call or the samples of its batches do not have."""
        for number in range(self.draws):
            self.draw(number).visitor(dit, probe.schedule.steps).check(probe, batches)

    def recomputed_from(self, dit: DiT, visits: Sequence[Visit], steps: Sequence[int]) -> list[int | None]:
        """For each visit, the first block that cannot be what it is in an unedited run; None where all can.

        Guided visits begin with the first: their own forward is the unedited one, and gives what the other leads from.
        """
        firsts = recomputed_from(self.edits, dit, visits, steps)
        if self.guidance is None:
            return firsts
        if self.guidance.match_norm_of is not None:
            others = recomputed_from(self.guidance.match_norm_of, dit, visits, steps)
            firsts = [None if other is None else first for first, other in zip(firsts, others, strict=True)]
        return [None if first is None else 0 for first in firsts]

    def to_json(self) -> Any:
        """What is applied, as JSON values.

        Raises:
            InputError: an edit has no plain form.
        """
        return [edit.to_json() for edit in self.edits] if self.guidance is None else self.guidance.to_json()


def conditions(given: Given | Mapping[str, Given] | None) -> list[Condition]:
    """The conditions that a mapping of names to edits and guidances means; one by itself goes by its label.

    Raises:
        InputError: there are none, or something else is among them.
    """
    if isinstance(given, Edit | Guidance):
        given = {given.label: given}
    if not isinstance(given, Mapping) or not given:
        what = f"edits as a {type(given).__name__}" if given else "no edits"
        raise InputError(what, "a dict of name -> edit", "Pass edits={'massive': ds.edits.zero(massive)}.")
    return [_condition(name, each) for name, each in given.items()]


def _condition(name: Any, given: Any) -> Condition:
    several = tuple(given) if isinstance(given, list | tuple) else (given,)
    if isinstance(name, str) and several and all(isinstance(edit, Edit) for edit in several):
        return Condition(name, several)
    if isinstance(name, str) and isinstance(given, Guidance):
        return Condition(name, given.edits, given)
    if any(isinstance(each, Guidance) for each in several):
        raise InputError(
            f"edits {name!r}: {given!r}",
            "a guidance alone under a text as its name",
            "Pass edits of the degraded branch to ds.guidance.from_edits; the run itself is not edited beside it.",
        )
    raise InputError(
        f"edits {name!r}: {given!r}",
        "a name with one edit or a list of edits, or with a guidance",
        "Make them with ditscope.edits or ditscope.guidance.",
    )
