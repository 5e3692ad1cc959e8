"""Conditions: edits that are applied together, under one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import Edit
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.tracing.probe import Probe
    from ditscope.tracing.prompt_embeds import Prompt


@dataclass(frozen=True)
class Condition:
    """One or several edits that are applied together, under one name; none for the baseline."""

    name: str
    edits: tuple[Edit, ...] = ()

    @property
    def control(self) -> bool:
        """Whether every edit of it is a control."""
        return bool(self.edits) and all(edit.control for edit in self.edits)

    @property
    def draws(self) -> int:
        """Number of runs: the most draws that an edit of it has."""
        return max((edit.draws for edit in self.edits), default=1)

    def draw(self, number: int) -> list[Edit]:
        """The edits of one run; an edit with fewer draws begins again with its first."""
        return [edit.draw(number % edit.draws) for edit in self.edits]

    def check(self, dit: DiT, probe: Probe, samples: Sequence[tuple[Prompt, int]] | None = None) -> None:
        """Refuse, before a run, what the model, the probed call or its samples do not have."""
        for number in range(self.draws):
            EditedVisit(dit, self.draw(number), probe.schedule.steps, probe, samples=samples)


def conditions(edits: Edit | Mapping[str, Edit | Sequence[Edit]] | None) -> list[Condition]:
    """The conditions that a mapping of names to edits means; one edit goes by its label.

    Raises:
        InputError: there are none, or something else than edits is among them.
    """
    if isinstance(edits, Edit):
        edits = {edits.label: edits}
    if not isinstance(edits, Mapping) or not edits:
        what = f"edits as a {type(edits).__name__}" if edits else "no edits"
        raise InputError(what, "a dict of name -> edit", "Pass edits={'massive': ds.edits.zero(massive)}.")
    result = []
    for name, given in edits.items():
        several = tuple(given) if isinstance(given, list | tuple) else (given,)
        if not isinstance(name, str) or not several or not all(isinstance(edit, Edit) for edit in several):
            raise InputError(
                f"edits {name!r}: {given!r}",
                "a name with one edit or a list of edits",
                "Make them with ditscope.edits.",
            )
        result.append(Condition(name, several))
    return result
