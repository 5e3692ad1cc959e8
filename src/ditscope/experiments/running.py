"""The same samples under each of several conditions: what is run, apart from how it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import Edit
from ditscope.errors import InputError
from ditscope.tracing.run import run_traced

if TYPE_CHECKING:
    from tqdm.auto import tqdm

    from ditscope.encoded_text import EncodedText
    from ditscope.models.dit import DiT
    from ditscope.tracing.batches import Batch
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


@dataclass(frozen=True, eq=False)
class Run:
    """What one draw of a condition made.

    Attributes:
        images: uint8 ``[sample, y, x, rgb]``.
        firings: the edits' firings, with the column ``sample``; empty for the baseline.
        texts: what the text encoders were given of each sample's prompt; None for what is not known.
    """

    images: np.ndarray
    firings: pd.DataFrame
    texts: Sequence[EncodedText | None] = ()


def conditions(edits: Mapping[str, Edit | Sequence[Edit]] | None) -> list[Condition]:
    """The conditions that a mapping of names to edits means.

    Raises:
        InputError: there are none, or something else than edits is among them.
    """
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


def run_condition(
    dit: DiT,
    batches: Sequence[Batch],
    edits: Sequence[Edit],
    probe: Probe,
    progress: tqdm,
) -> Run:
    """Generate every sample under some edits, each with one draw; under none, the baseline.

    Raises:
        EditError: an edit never fired in one of the batches.
    """
    images, tables, texts = [], [], []
    for batch in batches:
        visitor = None
        if edits:
            steps = probe.schedule.steps
            visitor = EditedVisit(dit, edits, steps, positions=batch.positions, samples=batch.samples)
        outcome = run_traced(dit, batch.samples, visitor, **batch.call)
        images.append(outcome.images)
        texts += outcome.texts
        if visitor is not None:
            visitor.require_fired()
            table = visitor.firings.table()
            tables.append(table.assign(sample=table["row"] + batch.positions.start))
        progress.update(len(batch.positions))
    return Run(np.concatenate(images), pd.concat(tables) if tables else pd.DataFrame(), texts)
