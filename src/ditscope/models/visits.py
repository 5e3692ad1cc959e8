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

from ditscope.errors import UnsupportedError, VisitError, found_expected

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_MEND_THE_FAMILY = (
    "The pipeline calls its transformer in an order that its family does not describe; "
    "switch off whatever adds or skips calls, or describe the order in the family."
)
_MEND_THE_BODY = (
    "A block was asked for after the model had passed it: access blocks in execution order, "
    "block_input before block_output."
)


@dataclass(frozen=True)
class Visit:
    """One call of the pipeline's transformer.

    Attributes:
        index: number of the call within the run, from 0.
        step: index into the scheduler's timesteps.
        sigma: noise level of that step, 1 = noise, 0 = image.
        timestep: the timestep in the unit that the transformer is handed.
        branch: ``cond`` or ``uncond``.
    """

    index: int
    step: int
    sigma: float
    timestep: float
    branch: str


@dataclass(frozen=True)
class Schedule:
    """The visits that a call will make.

    Attributes:
        sigmas: noise level of each step.
        timesteps: timestep of each step, in the transformer's unit.
        branches: the branches of one step, in visiting order.
    """

    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]
    branches: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.timesteps) * len(self.branches)

    def visit(self, index: int) -> Visit:
        """The visit numbered ``index``."""
        step, place = divmod(index, len(self.branches))
        return Visit(index, step, self.sigmas[step], self.timesteps[step], self.branches[place])


@dataclass
class Walk:
    """How far a walk over the visits of a run has come.

    nnsight serves a block that was passed already from the *next* visit, and ends a loop quietly when
    the run is over before the loop is. Both are found out here.

    Attributes:
        schedule: the visits that are expected.
        finished: visits whose body has run to its end.
        left: whether the body left the loop by itself, as with ``break``.
    """

    schedule: Schedule
    finished: int = 0
    left: bool = False

    def finish(self, index: int, n_visits: int) -> None:
        """Note the end of a visit's body, when ``n_visits`` visits have begun.

        Raises:
            VisitError: the model has gone on to a later visit meanwhile.
        """
        if n_visits > index + 1:
            raise VisitError(
                found_expected(
                    f"the body of visit {index} ending in visit {n_visits - 1}", "in its own", _MEND_THE_BODY
                )
            )
        self.finished = index + 1

    def require_complete(self, n_visits: int) -> None:
        """Refuse a run of ``n_visits`` visits that is not the one that was walked.

        Raises:
            VisitError: visits are missing or too many, or the last one was not finished.
        """
        expected = len(self.schedule)
        if n_visits != expected:
            raise VisitError(
                found_expected(
                    f"{n_visits} visits of the transformer in the run",
                    f"{expected} by the visit ledger ({len(self.schedule.timesteps)} steps, branches "
                    f"{' '.join(self.schedule.branches)})",
                    _MEND_THE_FAMILY,
                )
            )
        if self.finished < expected and not self.left:
            raise VisitError(
                found_expected(
                    f"the run ending before the body of visit {self.finished}",
                    "after it",
                    _MEND_THE_BODY,
                )
            )


def live_schedule(dit: DiT) -> Schedule:
    """The schedule of the run in progress, read from the scheduler once it has been set."""
    scheduler = dit.diffusers_pipeline.scheduler
    timesteps = [float(value) * dit.family.timestep_scale for value in scheduler.timesteps]
    sigmas = [float(value) for value in scheduler.sigmas][: len(timesteps)]
    return Schedule(tuple(sigmas), tuple(timesteps), dit.family.guidance.visited(dit.call))


def visits(dit: DiT, tracer: Any) -> Iterator[Visit]:
    """Walk the visits of the run being traced; see :meth:`ditscope.models.dit.DiT.visits`."""
    walk: Walk | None = None
    for index in tracer.iter[:]:
        # Reading the inputs parks the trace until the transformer is called for the index-th time.
        _, arguments = dit.transformer.inputs
        if walk is None:
            walk = dit.begin_walk(Walk(live_schedule(dit)))
        visit = walk.schedule.visit(index)
        _hold_against_clocks(dit, visit, arguments)
        try:
            yield visit
        except GeneratorExit:
            walk.left = True
            raise
        walk.finish(index, dit.n_visits)
        if walk.finished == len(walk.schedule):
            return


def _hold_against_clocks(dit: DiT, visit: Visit, arguments: Any) -> None:
    scheduler = dit.diffusers_pipeline.scheduler
    clock = scheduler.step_index if scheduler.step_index is not None else (scheduler.begin_index or 0)
    if clock != visit.step:
        raise VisitError(
            found_expected(
                f"visit {visit.index} at the scheduler's step {clock}",
                f"step {visit.step} ({visit.branch}) by the visit ledger",
                _MEND_THE_FAMILY,
            )
        )
    handed = arguments[dit.family.timestep_argument].flatten()
    # bfloat16 keeps 8 bits of the timestep.
    if not all(math.isclose(float(value), visit.timestep, rel_tol=2**-7, abs_tol=1e-6) for value in handed):
        raise VisitError(
            found_expected(
                f"visit {visit.index} handed timestep {float(handed[0]):.6g} to the transformer",
                f"timestep {visit.timestep:.6g} of step {visit.step} by the visit ledger",
                "The family's timestep_scale or visiting order is wrong for this pipeline.",
            )
        )


def refuse_unmapped(dit: DiT) -> None:
    """Refuse, by name and before a run, what breaks the mapping from visits to steps.

    Raises:
        UnsupportedError: step caching is on, or the scheduler calls the model more than once a step.
    """
    pipeline = dit.diffusers_pipeline
    transformer = pipeline.transformer
    if getattr(transformer, "is_cache_enabled", False):
        raise UnsupportedError(
            found_expected(
                "step caching enabled on the transformer",
                "every block to run in every step",
                "Call pipeline.transformer.disable_cache() first.",
            )
        )
    if getattr(pipeline.scheduler, "order", 1) != 1:
        raise UnsupportedError(
            found_expected(
                f"scheduler {type(pipeline.scheduler).__name__} of order {pipeline.scheduler.order}",
                "a scheduler that calls the transformer once a step",
                "Use FlowMatchEulerDiscreteScheduler.",
            )
        )
