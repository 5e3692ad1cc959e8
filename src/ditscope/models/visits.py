"""Which step and which branch a visit of the transformer belongs to.

nnsight counts occurrences of a module, not scheduler steps. With classifier-free guidance a step
has two visits, so an occurrence says nothing by itself. The ledger predicts step and branch from
the call's arguments, and holds every prediction against two clocks that it did not make: the
scheduler's own step index and the timestep that the transformer was handed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditscope.errors import VisitError, unknown_name
from ditscope.models.refusals import refuse_unmapped
from ditscope.models.schedule import noise_levels, require_plain_start, step_clock

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_MEND_THE_FAMILY = (
    "The pipeline calls its transformer in an order that its family does not describe; "
    "switch off whatever adds or skips calls, or describe the order in the family."
)
_MEND_THE_BODY = (
    "Either a block was asked for after the model had passed it: access blocks in execution order, "
    "block_input before block_output. Or the block did not run: switch off what caches, skips or replaces blocks."
)


@dataclass(frozen=True)
class Visit:
    """One call of the pipeline's transformer.

    Attributes:
        index: number of the call within the run, from 0.
        step: index into the scheduler's timesteps.
        sigma: noise level of that step, 1 = noise, 0 = image.
        timestep: the timestep in the unit that the transformer is handed.
        branches: the branches that run in this visit: one, or the halves of a doubled batch in the
            order of its rows.
    """

    index: int
    step: int
    sigma: float
    timestep: float
    branches: tuple[str, ...]

    @property
    def branch(self) -> str:
        """``cond`` or ``uncond``, where a visit has one branch.

        Raises:
            VisitError: both branches run in this visit.
        """
        if len(self.branches) > 1:
            raise VisitError(
                f"branches {' and '.join(self.branches)} in one visit",
                "one branch",
                "Use visit.branches, and visit.rows(tensor, branch) for a branch's part of a tensor.",
            )
        return self.branches[0]

    def rows(self, tensor: Any, branch: str) -> Any:
        """The rows ``[row, ...]`` of a tensor that are of one branch, as a view to read or to edit in place.

        Raises:
            InputError: the branch does not run in this visit.
        """
        return tensor[self.slice(len(tensor), branch)]

    def slice(self, n_rows: int, branch: str) -> slice:
        """Where a branch's rows are among ``n_rows``.

        Raises:
            InputError: the branch does not run in this visit.
        """
        if branch not in self.branches:
            raise unknown_name("branch", branch, self.branches)
        size = n_rows // len(self.branches)
        place = self.branches.index(branch)
        return slice(place * size, (place + 1) * size)


@dataclass(frozen=True)
class Schedule:
    """The visits that a call will make.

    Attributes:
        sigmas: noise level of each step.
        timesteps: timestep of each step, in the transformer's unit.
        branches: the branches of one step, in the order of its visits or rows.
        doubled: whether the branches are the halves of a doubled batch, in one visit.
        first_step: index of the first step that is run; image-to-image runs begin later than 0.
    """

    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]
    branches: tuple[str, ...]
    doubled: bool = False
    first_step: int = 0

    @property
    def steps(self) -> range:
        """Indices of the steps that are run, into the scheduler's timesteps."""
        return range(self.first_step, self.first_step + len(self.timesteps))

    @property
    def visits_per_step(self) -> int:
        """Visits of the transformer in each step."""
        return 1 if self.doubled else len(self.branches)

    def __len__(self) -> int:
        return len(self.timesteps) * self.visits_per_step

    def visit(self, index: int) -> Visit:
        """The visit numbered ``index``."""
        step, place = divmod(index, self.visits_per_step)
        branches = self.branches if self.doubled else self.branches[place : place + 1]
        return Visit(index, self.steps[step], self.sigmas[step], self.timesteps[step], branches)


@dataclass
class VisitProgress:
    """How far a walk over the visits of a run has come.

    nnsight serves a block that was passed already from the *next* visit, and ends a loop quietly when
    the run is over before the loop is. Both are found out here. A body that leaves the loop cannot be
    told so on the spot: what a generator raises while it is closed is lost. So the walk remembers where
    the model was, and the run ends with the error.

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

    def leave(self, n_visits: int) -> None:
        """Note that the body leaves the loop, when ``n_visits`` visits have begun."""
        self.left = n_visits

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
                _MEND_THE_BODY,
            )

    def require_complete(self, n_visits: int) -> None:
        """Refuse a run of ``n_visits`` visits that is not the one that was walked.

        Raises:
            VisitError: visits are missing or too many, the last one was not finished, or the loop was left
                in a later visit than its body's.
        """
        self.require_left_in_time()
        expected = len(self.schedule)
        if n_visits != expected:
            raise VisitError(
                f"{n_visits} visits of the transformer in the run",
                f"{expected} by the visit ledger ({len(self.schedule.timesteps)} steps, branches "
                f"{' '.join(self.schedule.branches)})",
                _MEND_THE_FAMILY,
            )
        if self.finished < expected and self.left is None:
            raise VisitError(
                f"the run ending before the body of visit {self.finished}",
                "after it",
                _MEND_THE_BODY,
            )


def live_schedule(dit: DiT) -> Schedule:
    """The schedule of the run in progress, read from the scheduler once it has been set.

    Raises:
        UnsupportedError: the first timestep comes twice.
    """
    scheduler, guidance = dit.diffusers_pipeline.scheduler, dit.family.guidance
    require_plain_start(scheduler)
    first = int(scheduler.begin_index or 0)
    branches = guidance.visited(dit.full_call(dit.run_state.call))
    return Schedule(
        sigmas=tuple(noise_levels(scheduler)[first:]),
        timesteps=tuple(
            float(value) * dit.timestep_scale + dit.family.timestep_offset
            for value in scheduler.timesteps[first:]
        ),
        branches=branches,
        doubled=guidance.doubled and len(branches) > 1,
        first_step=first,
    )


def visits(dit: DiT, tracer: Any) -> Iterator[Visit]:
    """VisitProgress the visits of the run being traced; see :meth:`ditscope.models.dit.DiT.visits`."""
    walk: VisitProgress | None = None
    for index in tracer.iter[:]:
        # Reading the inputs parks the trace until the transformer is called for the index-th time.
        _ = dit.transformer.inputs
        if walk is None:
            refuse_unmapped(dit, dit.run_state.call)
            walk = dit.begin_walk(VisitProgress(live_schedule(dit)))
        visit = walk.schedule.visit(index)
        _hold_against_clocks(dit, visit)
        try:
            yield visit
        except GeneratorExit:
            walk.leave(dit.run_state.n_visits)
            raise
        walk.finish(dit.run_state.n_visits)
        if walk.finished == len(walk.schedule):
            return


def _hold_against_clocks(dit: DiT, visit: Visit) -> None:
    clock = step_clock(dit.diffusers_pipeline.scheduler)
    if clock != visit.step:
        raise VisitError(
            f"visit {visit.index} at the scheduler's step {clock}",
            f"step {visit.step} ({' '.join(visit.branches)}) by the visit ledger",
            _MEND_THE_FAMILY,
        )
    handed = dit.run_state.inputs.timesteps
    # bfloat16 keeps 8 bits of the timestep.
    if not all(math.isclose(float(value), visit.timestep, rel_tol=2**-7, abs_tol=1e-6) for value in handed):
        raise VisitError(
            f"visit {visit.index} handed timestep {float(handed[0]):.6g} to the transformer",
            f"timestep {visit.timestep:.6g} of step {visit.step} by the visit ledger",
            "The family's timestep_scale, timestep_offset or visiting order is wrong for this pipeline.",
        )
