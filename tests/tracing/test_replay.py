"""Runs that begin with what was recorded of the unedited one: what is computed, within which budget, and when not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import bare_pipeline
import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.edits.recomputed_from import recomputed_from
from ditscope.errors import UnsupportedError
from ditscope.tracing.batches import batches_of
from ditscope.tracing.probe import probe
from ditscope.tracing.replay import BY_BLOCK, BY_STEP, WHOLE, Replay, why_whole
from ditscope.tracing.run import run_traced

CALL = {"num_inference_steps": 3, **bare_pipeline.GUIDED, "output_type": "latent"}
PLACES = [(0, 4), (1, 0), (1, 3), (1, 4), (2, 4), (2, 9)]
"""Step and block of each edit."""


class CountedProducts(TorchDispatchMode):
    """Counts products of matrices."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket in (
            torch.ops.aten.mm,
            torch.ops.aten.addmm,
            torch.ops.aten.bmm,
            torch.ops.aten.baddbmm,
        )
        return function(*args, **(kwargs or {}))


class Sweep:
    """Edits of one block at one step each, and the runs of them; two visits a step."""

    def __init__(self, dit, budget: int = 2**30, places=PLACES, **call) -> None:
        self.dit = dit
        self.batch = batches_of("a red circle", 5, 1, {**CALL, **call})[0]
        self.probe = probe(dit, self.batch.samples, **self.batch.call)
        schedule = self.probe.schedule
        visits = [schedule.visit(index) for index in range(len(schedule))]
        self.edits = [ds.edits.zero([3, 7], steps=step, blocks=block) for step, block in places]
        self.starts = [recomputed_from([edit], dit, visits, schedule.steps) for edit in self.edits]
        self.replay = Replay(dit, self.batch, self.probe, self.starts, budget)
        self.run(self.replay.record)

    def run(self, at_visit) -> np.ndarray:
        outcome = run_traced(self.dit, self.batch.samples, at_visit, keep_latents=True, **self.batch.call)
        return outcome.latents[:, -1]

    def edited(self, number: int, replayed: bool = True) -> np.ndarray:
        visitor = EditedVisit(self.dit, [self.edits[number]], self.probe.schedule.steps)
        return self.run(self.replay.run_from(self.starts[number], visitor) if replayed else visitor)


@pytest.fixture(scope="module")
def whole(dit) -> list[np.ndarray]:
    sweep = Sweep(dit)
    return [sweep.edited(number, replayed=False) for number in range(len(PLACES))]


def hidden_nbytes(dit) -> int:
    """Of the streams of one block in one visit."""
    looked = Sweep(dit, places=PLACES[:1]).probe
    return sum(looked.tokens.values()) * looked.width * 4


@pytest.mark.parametrize(("rooms", "how"), [(1000, BY_BLOCK), (2, BY_BLOCK), (1, BY_STEP)], ids=str)
def test_runs_are_the_whole_ones_within_any_budget(dit, whole, rooms, how) -> None:
    sweep = Sweep(dit, 0)
    for_outputs = 3 * 6 * sweep.probe.latent_tokens * sweep.probe.latent_channels * 4
    budget = for_outputs + rooms * hidden_nbytes(dit)
    sweep = Sweep(dit, budget)
    assert sweep.replay.how == how
    for number, expected in enumerate(whole):
        assert np.array_equal(sweep.edited(number), expected), PLACES[number]
        assert sweep.replay.nbytes <= budget
    # In another order as well: what was dropped is recorded again.
    assert np.array_equal(sweep.edited(3), whole[3])


def test_without_room_for_a_step_runs_are_whole_and_it_says_so(dit, whole) -> None:
    sweep = Sweep(dit, 1000)
    assert (sweep.replay.how, sweep.replay.nbytes) == (WHOLE, 0)
    assert "1000 bytes do not hold" in sweep.replay.why
    assert np.array_equal(sweep.edited(2), whole[2])


def test_what_is_shared_is_not_computed(dit) -> None:
    sweep = Sweep(dit)

    def cost(at_visit) -> int:
        with CountedProducts() as products:
            sweep.run(at_visit)
        return products.count

    outputs = sweep.replay._outputs
    nothing = cost(lambda visit: dit.skip_visit(outputs[visit.index]))
    everything = cost(None) - nothing
    # A double block has a stream's products of its own for text.
    weights = np.where([block.kind == "double" for block in dit.blocks], 2.0, 1.0)
    weights /= weights.sum()
    for number, (step, block) in enumerate(PLACES):
        share = (cost(sweep.replay.run_from(sweep.starts[number], lambda visit: None)) - nothing) / everything
        assert share == pytest.approx((3 - step - weights[: block + 1].sum()) / 3, abs=0.03)


def test_what_may_keep_something_from_visit_to_visit_is_named(dit, monkeypatch) -> None:
    assert why_whole(dit) is None
    transformer = dit.diffusers_pipeline.transformer
    handle = transformer.transformer_blocks[1].attn.to_q.register_forward_hook(lambda *_: None)
    try:
        sweep = Sweep(dit)
        assert sweep.replay.how == WHOLE
        assert sweep.replay.why == "a forward hook on transformer_blocks.1.attn.to_q"
    finally:
        handle.remove()
    processor = transformer.transformer_blocks[0].attn.processor

    class Counting(type(processor)):
        """One of the user's own."""

    monkeypatch.setattr(transformer.transformer_blocks[0].attn, "processor", Counting())
    assert why_whole(dit) == "Counting at transformer_blocks.0.attn, of no known library"


def test_a_run_that_is_another_before_it_is_edited_is_refused(dit) -> None:
    calls = []

    def drifting(pipeline, step, timestep, tensors):
        calls.append(step)
        return {"latents": tensors["latents"] * (1 + len(calls))}

    sweep = Sweep(dit, callback_on_step_end=drifting)
    with pytest.raises(UnsupportedError, match="latents at step 1 other than those of the unedited run"):
        sweep.edited(3)


def test_a_callback_that_depends_on_its_step_alone_is_replayed(dit) -> None:
    def halved(pipeline, step, timestep, tensors):
        return {"latents": tensors["latents"] * (0.5 if step else 1)}

    sweep = Sweep(dit, callback_on_step_end=halved)
    assert np.array_equal(sweep.edited(4), sweep.edited(4, replayed=False))
    plain = Sweep(dit)
    assert not np.array_equal(plain.edited(4), sweep.edited(4))


def test_what_is_recorded_keeps_its_layout_in_memory(dit) -> None:
    from ditscope.tracing.replay import _copy

    joined = torch.arange(24.0).reshape(2, 4, 3)
    view = joined[:, 1:]
    copy = _copy((view, None))[0]
    assert copy.stride() == view.stride()
    assert copy.equal(view)
    joined.zero_()
    assert copy[0, 0].tolist() == [3, 4, 5]
    assert _copy(torch.ones(1).expand(3)).tolist() == [1, 1, 1]
