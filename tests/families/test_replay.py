"""A run that begins with what was recorded of the unedited one is the whole run, bit for bit, on every family."""

from __future__ import annotations

import numpy as np
from family_calls import IN_A_WAY, SEEDS, batch, branches, call

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.edits.recomputed_from import recomputed_from
from ditscope.tracing.batches import Batch
from ditscope.tracing.probe import probe
from ditscope.tracing.replay import BY_BLOCK, Replay
from ditscope.tracing.run import run_traced

CHANNELS = [3, 7]


@IN_A_WAY
def test_every_start_gives_the_whole_run(opened, name, dtype, square) -> None:
    dit = opened(name, dtype)
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    used = Batch(range(2), samples, call(name, square))
    looked = probe(dit, samples, **used.call)
    visits = [looked.schedule.visit(index) for index in range(len(looked.schedule))]
    last, half = len(dit.blocks) - 1, len(dit.blocks) // 2
    inner = "mlp_output" if "image" in dit.blocks[1].layout.streams("mlp_output") else "block_input"
    wheres = [
        {"steps": 1, "blocks": last},
        {"steps": 1, "blocks": 1, "branches": branches(name)[-1], "site": inner},
        {"steps": [0, 1], "blocks": half, "site": "block_input"},
    ]
    edits = [ds.edits.zero(CHANNELS, **where) for where in wheres]
    starts = [recomputed_from([edit], dit, visits, looked.schedule.steps) for edit in edits]
    replay = Replay(dit, used, looked, starts)
    assert replay.how == BY_BLOCK, replay.why
    bare = run_traced(dit, samples, replay.record, **used.call).images
    for edit, start in zip(edits, starts, strict=True):
        whole, begun = (EditedVisit(dit, [edit], looked.schedule.steps) for _ in range(2))
        expected = run_traced(dit, samples, whole, **used.call).images
        images = run_traced(dit, samples, replay.run_from(start, begun), **used.call).images
        assert np.array_equal(images, expected), edit
        assert not np.array_equal(images, bare), edit
        assert begun.firings.table().equals(whole.firings.table())
