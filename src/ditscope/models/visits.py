"""Which step and which branch a visit of the transformer belongs to.

nnsight counts occurrences of a module, not scheduler steps. With classifier-free guidance a step
has two visits, so an occurrence says nothing by itself. The ledger predicts step and branch from
the call's arguments, and compares every prediction with two clocks that it did not make: the
scheduler's own step index and the timestep that the transformer is passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditscope.errors import VisitError, unknown_name
from ditscope.models.schedule import noise_levels, require_plain_start, step_clock
from ditscope.models.visit_progress import OTHER_ORDER, VisitProgress

if TYPE_CHECKING:
    from nnsight import Envoy

    from ditscope.models.run_state import RunState


@dataclass(frozen=True)
class Visit:
    """One call of the pipeline's transformer.

    Attributes:
        index: number of the call within the run, from 0.
        step: index into the scheduler's timesteps.
        sigma: noise level of that step, 1 = noise, 0 = image.
        timestep: the timestep in the unit that the transformer is passed.
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
        first = self.branches.index(branch) * size
        return slice(first, first + size)


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
        step, branch = divmod(index, self.visits_per_step)
        branches = self.branches if self.doubled else self.branches[branch : branch + 1]
        return Visit(index, self.steps[step], self.sigmas[step], self.timesteps[step], branches)


def live_schedule(run: RunState) -> Schedule:
    """The schedule of the run in progress, read from the scheduler once it has been set.

    Raises:
        UnsupportedError: the first timestep comes twice.
    """
    scheduler, family = run.pipeline.scheduler, run.family
    require_plain_start(scheduler)
    first = int(scheduler.begin_index or 0)
    branches = family.guidance.visited(run.full_call())
    config = run.pipeline.transformer.config
    return Schedule(
        sigmas=tuple(noise_levels(scheduler)[first:]),
        timesteps=tuple(family.timestep(float(value), config) for value in scheduler.timesteps[first:]),
        branches=branches,
        doubled=family.guidance.doubled and len(branches) > 1,
        first_step=first,
    )


def visits(run: RunState, transformer: Envoy, tracer: Any) -> Iterator[Visit]:
    """The visits of the run being traced, in order; see :meth:`ditscope.models.dit.DiT.visits`."""
    progress: VisitProgress | None = None
    with run.read():
        for index in tracer.iter[:]:
            # Reading the inputs parks the trace until the transformer is called for the index-th time.
            _ = transformer.inputs
            if progress is None:
                progress = run.progress = VisitProgress(live_schedule(run))
            visit = progress.schedule.visit(index)
            _compare_with_clocks(run, visit)
            try:
                yield visit
            except GeneratorExit:
                progress.left = run.n_visits
                raise
            progress.finish(run.n_visits)
            if progress.finished == len(progress.schedule):
                return


def _compare_with_clocks(run: RunState, visit: Visit) -> None:
    clock = step_clock(run.pipeline.scheduler)
    if clock != visit.step:
        raise VisitError(
            f"visit {visit.index} at the scheduler's step {clock}",
            f"step {visit.step} ({' '.join(visit.branches)}) by the visit ledger",
            OTHER_ORDER,
        )
    rows, n_images = len(run.inputs["hidden_states"]), len(run.samples)
    if rows != n_images * len(visit.branches):
        raise VisitError(
            f"{rows} rows passed to the transformer at visit {visit.index}",
            f"{n_images * len(visit.branches)}: {n_images} images in branches {' '.join(visit.branches)}",
            "Leave out callbacks that change guidance or the batch on the way.",
        )
    timesteps = run.inputs.timesteps
    # bfloat16 keeps 8 bits of the timestep.
    if not all(
        math.isclose(float(value), visit.timestep, rel_tol=2**-7, abs_tol=1e-6) for value in timesteps
    ):
        raise VisitError(
            f"timestep {float(timesteps[0]):.6g} passed to the transformer at visit {visit.index}",
            f"timestep {visit.timestep:.6g} of step {visit.step} by the visit ledger",
            "The family's timestep_scale, timestep_offset or visiting order is wrong for this pipeline.",
        )
