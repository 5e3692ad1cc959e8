"""Carrying a sweep out: batch by batch the unedited run, then what begins with it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ditscope.errors import ConfigMismatchError, EditError
from ditscope.experiments.kept import Kept
from ditscope.experiments.outline import RunKey
from ditscope.experiments.scoring import Made, score_baseline, score_run
from ditscope.experiments.together import EditedTogether, first_of, own_rows
from ditscope.tracing.replay import Replay
from ditscope.tracing.run import LATENT, STOP, Outcome, run_traced
from ditscope.tracing.unchanged import require_unchanged

if TYPE_CHECKING:
    from ditscope.edits.applying import EditedVisit
    from ditscope.experiments.conditions import Condition
    from ditscope.experiments.grid import Grid
    from ditscope.guidance.guided_visit import GuidedVisit
    from ditscope.metrics.metric import Metric
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.batches import Batch
    from ditscope.tracing.probe import Probe

_MOST_UNCOMPARED = 50
"""A model is compared with what it was once what was made since the last time took so many times as long as that."""


class Runs:
    """The runs of a sweep, batch by batch, in the order of where they begin to differ from the unedited one."""

    def __init__(
        self,
        title: str,
        dit: DiT,
        batches: Sequence[Batch],
        grid: Grid,
        scorers: Mapping[str, Metric],
        probe: Probe,
        memory_budget: int,
        edits_per_forward: int,
    ) -> None:
        self._title, self._dit, self._batches, self._grid = title, dit, batches, grid
        self._scorers, self._probe, self._budget = scorers, probe, memory_budget
        self._per_forward = edits_per_forward
        schedule = probe.schedule
        self._visits = [schedule.visit(index) for index in range(len(schedule))]
        self._with_images = any(metric.of_images for metric in scorers.values())
        self._with_latents = any(
            not {"latents", "reference_latents"}.isdisjoint(metric.needs) for metric in scorers.values()
        )

        # What is judged by itself is compared with the unedited run's score, which is of the end.
        self._to_end = any("latents" in metric.needs and not metric.paired for metric in scorers.values())

        self._compared, self._cost = time.monotonic(), 0.0

    def make(self, kept: Kept, model: Mapping[str, Any]) -> str:
        """Make what is missing of a model in a state; returns what was shared, in words."""
        missing = [kept.missing(batch) for batch in range(len(self._batches))]
        starts = {key: self._start(key) for keys in missing for key in keys}
        n_visits = sum(len(self._visits) for keys in missing if keys) + sum(map(_computed, starts.values()))
        shared: dict[str, None] = {}  # in order
        with tqdm(total=n_visits, desc=self._title, unit="visit", disable=None) as progress:
            try:
                for number, keys in enumerate(missing):
                    if keys or number not in kept.baselines:
                        keys = sorted(keys, key=lambda key: _order(starts[key]))
                        shared[self._batch(number, keys, starts, kept, model, progress)] = None
                        self._require_unchanged(kept, model)
            except BaseException:
                # Broken off, perhaps by the user, who goes on later: with what was made of this model alone.
                with contextlib.suppress(Exception):  # the model may be what failed
                    self._require_unchanged(kept, model)
                raise
        return "; ".join(shared) or "nothing, all runs were there"

    def _batch(
        self,
        number: int,
        keys: Sequence[RunKey],
        starts: Mapping[RunKey, Sequence[int | None]],
        kept: Kept,
        model: Mapping[str, Any],
        progress: tqdm,
    ) -> str:
        batch = self._batches[number]
        replay = Replay(self._dit, batch, self._probe, [starts[key] for key in keys], self._budget)
        outcome = self._run(batch, replay.record)
        baseline, prompts = self._made(outcome), [str(prompt) for prompt, _ in batch.samples]
        cut = [text is not None and text.truncated for text in outcome.texts]
        scored = score_baseline(self._scorers, baseline, prompts, batch.positions)
        kept.add_baseline(number, scored, cut, baseline.images, _digest(baseline))
        progress.update(len(self._visits))
        for at in range(0, len(keys), self._per_forward):
            group = keys[at : at + self._per_forward]
            conditions = [self._condition(key) for key in group]
            steps = [self._steps(starts[key]) for key in group]
            together = EditedTogether(self._dit, conditions, self._probe.schedule.steps, batch)
            begun = replay.run_from(first_of([starts[key] for key in group]), together, len(group))
            outcome = self._run(batch.repeated(len(group)), begun, max(steps))
            for copy, (key, visitor) in enumerate(zip(group, together.visitors, strict=True)):
                made = self._made(outcome, own_rows(slice(0, len(group) * len(prompts)), copy, len(group)))
                firings = _fired(visitor)
                edits = conditions[copy].edits
                judged = (made, baseline, batch.samples, batch.positions)
                scored = score_run(self._scorers, *judged, edits, firings, steps[copy])
                kept.add(key, scored, made.images)
                progress.update(_computed(starts[key]))
            if time.monotonic() - self._compared > _MOST_UNCOMPARED * self._cost:
                self._require_unchanged(kept, model)
        return f"{replay.how} ({replay.why})" if replay.why else replay.how

    def _condition(self, key: RunKey) -> Condition:
        return self._grid.cells[key.cell][key.edit].draw(key.draw)

    def _run(self, batch: Batch, at_visit: Callable[[Visit], object], steps: int | None = None) -> Outcome:
        """One run; where only latents are judged, it ends after some steps."""
        if self._with_images:
            return run_traced(
                self._dit, batch.samples, at_visit, keep_latents=self._with_latents, **batch.call
            )
        first = self._visits[0].step

        def until_then(visit: Visit) -> object:
            over = steps is not None and not self._to_end and visit.step >= first + steps
            return STOP if over else at_visit(visit)

        call = {**batch.call, "output_type": LATENT}
        return run_traced(self._dit, batch.samples, until_then, keep_latents=True, **call)

    def _made(self, outcome: Outcome, rows: slice = slice(None)) -> Made:
        return Made(
            outcome.images[rows] if self._with_images else None,
            outcome.latents[rows] if self._with_latents else None,
        )

    def _start(self, key: RunKey) -> list[int | None]:
        return self._condition(key).recomputed_from(self._dit, self._visits, self._probe.schedule.steps)

    def _steps(self, start: Sequence[int | None]) -> int:
        """How many steps there are up to the last edited one."""
        last = max((index for index, block in enumerate(start) if block is not None), default=len(start) - 1)
        return last // self._probe.schedule.visits_per_step + 1

    def _require_unchanged(self, kept: Kept, model: Mapping[str, Any]) -> None:
        begun = time.monotonic()
        try:
            require_unchanged(self._dit, model)
        except ConfigMismatchError:
            kept.drop_unchecked()
            raise
        kept.checked()
        self._compared = time.monotonic()
        self._cost = self._compared - begun


def _fired(visitor: EditedVisit | GuidedVisit) -> pd.DataFrame:
    """What fired in a run; nothing where one of its edits never did, as a text's mask in a batch of short texts."""
    table = visitor.firings.table()
    try:
        visitor.require_fired()
    except EditError:
        return table[:0]
    return table


def _order(start: Sequence[int | None]) -> list[tuple[int, int]]:
    """By where a run begins to differ: those that share most follow each other."""
    return [(index, block) for index, block in enumerate(start) if block is not None]


def _computed(start: Sequence[int | None]) -> int:
    """Visits that a run computes, more or less: those since it begins to differ."""
    return len(start) - next((index for index, block in enumerate(start) if block is not None), 0)


def _digest(made: Made) -> str:
    digest = hashlib.sha256()
    for array in (made.images, made.latents):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
