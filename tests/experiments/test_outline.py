"""What a sweep consists of: its runs, its batches, and its form as JSON."""

from __future__ import annotations

import json

from ditscope.experiments.outline import Outline, RunKey


def test_runs_and_batches_follow_from_it(outline) -> None:
    assert (outline.shape, outline.most_draws, outline.n_batches) == ((2, 1), 2, 2)
    assert [list(outline.positions(batch)) for batch in range(2)] == [[0, 1], [2]]
    runs = [(0, 0, 0), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)]
    assert outline.runs(1) == [RunKey(*run, 1) for run in runs]


def test_it_comes_back_from_json(outline) -> None:
    assert Outline.from_json(json.loads(json.dumps(outline.to_json()))) == outline
