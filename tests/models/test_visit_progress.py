"""A loop over visits beside the visits of the model: in step, behind, left early, and of another number."""

from __future__ import annotations

import pytest

from ditscope.errors import VisitError
from ditscope.models.visit_progress import VisitProgress
from ditscope.models.visits import Schedule

GUIDED = Schedule(sigmas=(1.0, 0.5), timesteps=(1.0, 0.5), branches=("cond", "uncond"))


def looped(finished: int) -> VisitProgress:
    """A loop whose first bodies ended in their own visits."""
    progress = VisitProgress(GUIDED)
    for visit in range(finished):
        progress.finish(visit + 1)
    return progress


def test_a_loop_in_step_with_the_model_is_complete() -> None:
    progress = looped(4)
    assert progress.finished == 4
    progress.require_complete(4)


@pytest.mark.parametrize("finished", [0, 2])
def test_a_body_that_ends_in_a_later_visit_is_refused_and_does_not_count(finished) -> None:
    progress = looped(finished)
    with pytest.raises(VisitError, match=f"body of visit {finished} ending in visit {finished + 1};"):
        progress.finish(finished + 2)
    assert progress.finished == finished


def test_a_body_may_leave_in_its_own_visit_alone() -> None:
    progress = looped(1)
    progress.require_left_in_time()
    progress.left = 2
    progress.require_left_in_time()
    progress.require_complete(4)
    progress.left = 3
    for refuse in (progress.require_left_in_time, lambda: progress.require_complete(4)):
        with pytest.raises(VisitError, match="body of visit 1 ending in visit 2"):
            refuse()


@pytest.mark.parametrize("n_visits", [3, 5])
def test_a_run_of_another_number_of_visits_is_refused_though_the_loop_was_left(n_visits) -> None:
    progress = looped(1)
    progress.left = 2
    message = rf"found {n_visits} visits .*expected 4 by the visit ledger \(2 steps, branches cond uncond\)"
    with pytest.raises(VisitError, match=message):
        progress.require_complete(n_visits)


def test_a_last_body_that_never_ended_is_refused() -> None:
    with pytest.raises(VisitError, match="the run ending before the body of visit 3"):
        looped(3).require_complete(4)
