"""How far the loop over a run's visits has come, and whether it is where the model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditscope.errors import VisitError

if TYPE_CHECKING:
    from ditscope.models.visits import Schedule

OTHER_ORDER = (
    "The pipeline calls its transformer in an order that its family does not describe; "
    "switch off whatever adds or skips calls, or describe the order in the family."
)
_LATE_BODY = (
    "Either a block was asked for after the model had passed it: access blocks in execution order, "
    "block_input before block_output. Or the block did not run: switch off what caches, skips or replaces blocks."
)


@dataclass
class VisitProgress:
    """How far a loop over the visits of a run has come.

    nnsight serves a block that was passed already from the *next* visit, and ends a loop quietly when
    the run is over before the loop is. Both are found out here. A body that leaves the loop cannot be
    refused on the spot: what a generator raises while it is closed is lost. So where the model was is
    noted, and the run ends with the error.

    Attributes:
        schedule: the visits that are expected.
        finished: visits whose body has run to its end.
        left: visits that had begun when the body left the loop by itself, as with ``break``.
    """

    schedule: Schedule
    finished: int = 0
    left: int | None = None

    def finish(self, n_visits: int) -> None:
        """Note the end of a visit's body, when ``n_visits`` visits have begun.

        Raises:
            VisitError: the model has gone on to a later visit meanwhile.
        """
        self._require_own_visit(n_visits)
        self.finished += 1

    def require_left_in_time(self) -> None:
        """Refuse a body that left the loop after the model had gone on to a later visit.

        Raises:
            VisitError: it did.
        """
        if self.left is not None:
            self._require_own_visit(self.left)

    def _require_own_visit(self, n_visits: int) -> None:
        if n_visits > self.finished + 1:
            raise VisitError(
                f"the body of visit {self.finished} ending in visit {n_visits - 1}",
                "in its own",
                _LATE_BODY,
            )

    def require_complete(self, n_visits: int, interrupted: bool = False) -> None:
        """Refuse a run of ``n_visits`` visits that is not the one that was looped over, or was ``interrupted``.

        Raises:
            VisitError: visits are missing or too many, the last one was not finished, or the loop was left
                in a later visit than its body's.
        """
        self.require_left_in_time()
        expected = len(self.schedule)
        if interrupted and n_visits < expected:
            steps = self.schedule.steps
            last = max(n_visits - 1, 0) // self.schedule.visits_per_step
            raise VisitError(
                f"the run interrupted at step {steps[last]} of {steps[0]} to {steps[-1]} (pipeline.interrupt, "
                "as a callback sets it)",
                "a run to its last step",
                "Leave pipeline._interrupt alone; num_inference_steps= or sigmas= make a shorter run.",
            )
        if n_visits != expected:
            raise VisitError(
                f"{n_visits} visits of the transformer in the run",
                f"{expected} by the visit ledger ({len(self.schedule.timesteps)} steps, branches "
                f"{' '.join(self.schedule.branches)})",
                OTHER_ORDER,
            )
        if self.finished < expected and self.left is None:
            raise VisitError(
                f"the run ending before the body of visit {self.finished}", "after it", _LATE_BODY
            )
