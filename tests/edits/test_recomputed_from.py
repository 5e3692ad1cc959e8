"""Where edits first act, visit by visit."""

from __future__ import annotations

import ditscope as ds
from ditscope.edits.recomputed_from import recomputed_from
from ditscope.models.visits import Schedule

TWICE = Schedule(sigmas=(1.0, 0.5, 0.2), timesteps=(1.0, 0.5, 0.2), branches=("cond", "uncond"))
VISITS = [TWICE.visit(index) for index in range(len(TWICE))]


def starts(dit, *edits) -> list[int | None]:
    return recomputed_from(edits, dit, VISITS, TWICE.steps)


def test_starts_are_the_first_blocks_of_each_visit(dit) -> None:
    late = ds.edits.zero([1], steps=1, blocks=[9, 7], branches="uncond")
    early = ds.edits.zero([1], steps=[1, -1], blocks=4)
    assert starts(dit, late) == [None, None, None, 8, None, None]
    assert starts(dit, early) == [None, None, 5, 5, 5, 5]
    assert starts(dit, late, early) == [None, None, 5, 5, 5, 5]
    assert starts(dit, ds.edits.zero([1], branches="cond")) == [1, None] * 3
    assert starts(dit, ds.edits.zero([1], site="block_input", blocks=[4, 9], steps=2)) == [None] * 4 + [4] * 2
    assert starts(dit, ds.edits.zero([1], blocks=9, steps=2)) == [None] * 4 + [10] * 2
    assert starts(dit) == [None] * 6


def test_both_halves_of_a_doubled_batch_are_one_visit(dit) -> None:
    doubled = Schedule(TWICE.sigmas, TWICE.timesteps, ("uncond", "cond"), doubled=True)
    edit = ds.edits.zero([1], steps=2, blocks="single", branches="cond")
    visits = [doubled.visit(index) for index in range(len(doubled))]
    first = next(block.index for block in dit.blocks if block.kind == "single")
    assert recomputed_from([edit], dit, visits, doubled.steps) == [None, None, first + 1]
