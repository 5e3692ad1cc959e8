"""Several edits in one forward pass: each on its own copy, of its own samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bare_pipeline
import ditscope as ds
from ditscope.edits.edit import Edit
from ditscope.errors import InputError
from ditscope.experiments.conditions import Condition
from ditscope.experiments.together import EditedTogether, OwnVisit, first_of
from ditscope.models.visits import Visit
from ditscope.tracing.batches import Batch
from ditscope.tracing.run import run_traced

PROMPTS = ["a red circle", "a white star"]
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
GRID = ds.grid(
    lambda block, step: {
        "zero": ds.edits.zero([3, 7], blocks=block, steps=step),
        "text": [
            ds.edits.scale([5], 2.0, stream="text", blocks=block - 1),
            ds.edits.zero([4], steps=step, branches="cond"),
        ],
    },
    block=[1, 8],
    step=[0, 1],
)


def sweep(dit, per_forward: int, **more):
    call = {"batch_size": 2, "resamples": 20, "edits_per_forward": per_forward, **CALL, **more}
    return ds.sweep(dit, PROMPTS, 5, GRID, ["latent_distance"], **call)


def test_numbers_are_those_of_runs_one_by_one_up_to_the_last_bits(dit) -> None:
    alone, together = (sweep(dit, number) for number in (1, 3))
    assert np.allclose(alone["value"], together["value"], rtol=1e-3, atol=1e-4)
    for name in ("fired", "energy_removed_by_sample", "energy_moved_by_sample"):
        assert np.allclose(alone[name], together[name], rtol=1e-3), name
    # Rows that were swapped would show.
    for dim in ("block", "step", "edit", "sample"):
        assert not np.allclose(alone["value"], together["value"].roll({dim: 1}), rtol=1e-3, atol=1e-4), dim


def test_rows_are_those_of_one_copy_in_each_branch() -> None:
    doubled = Visit(0, 0, 1.0, 1.0, ("uncond", "cond"))
    own = [OwnVisit(**vars(doubled), copy=copy, copies=3) for copy in range(3)]
    assert [each.slice(12, "uncond") for each in own] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert own[2].rows(torch.arange(12), "cond").tolist() == [10, 11]
    assert first_of([[None, 3, 2], [None, None, 5]]) == [None, 3, 2]


class Noted(Edit):
    """Changes nothing, and notes whose rows it is shown."""

    def values(self, context):
        seen.append((self.channels[0].item(), context.samples, len(context.old)))
        return context.old


seen: list = []


def test_an_edit_is_shown_its_own_samples(dit) -> None:
    edits = [Condition("", (Noted.of([number], {"blocks": 0, "steps": 0}),)) for number in range(2)]
    samples = [(prompt, 5) for prompt in PROMPTS]
    batch = Batch(range(2), samples, {})
    call = {"num_inference_steps": 1, **bare_pipeline.PLAIN}
    run_traced(dit, samples * 2, EditedTogether(dit, edits, range(1), batch), **call)
    assert seen == [(number, tuple(samples), 2) for number in range(2)]


@pytest.mark.parametrize(
    "given",
    [ds.edits.zero([3], freeze_layernorm=True), ds.guidance.detail([3], 2.0, 1)],
    ids=["frozen", "guidance"],
)
def test_what_cannot_share_a_forward_is_refused_before_a_run(dit, monkeypatch, given) -> None:
    monkeypatch.setattr("ditscope.experiments.running.run_traced", lambda *a, **k: pytest.fail("a run"))
    grid = ds.grid(lambda k: {"zero": ds.edits.zero([k]), "other": given}, k=[1, 2])
    with pytest.raises(InputError, match="with several edits in a forward pass"):
        ds.sweep(dit, PROMPTS, 5, grid, ["latent_norm"], edits_per_forward=2, **CALL)
