"""Steps, branches and clocks of the visits, against counted calls of the bare pipeline."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import FirstBlockCacheConfig, FlowMatchHeunDiscreteScheduler

import bare_pipeline
from ditscope.errors import UnsupportedError, VisitError
from ditscope.models.family import Guidance
from ditscope.tracing.run import run_traced

SAMPLE = [("a small red circle at the left on a plain blue background", 0)]
CALLS = {
    "plain": {"num_inference_steps": 3, **bare_pipeline.PLAIN},
    "guided": {"num_inference_steps": 3, **bare_pipeline.GUIDED},
    "no negative prompt": {"num_inference_steps": 2, **bare_pipeline.GUIDED, "negative_prompt": None},
    "scale of numpy": {"num_inference_steps": 2, **bare_pipeline.GUIDED, "true_cfg_scale": np.float32(2.0)},
    "own sigmas": {"sigmas": [1.0, 0.6, 0.1], **bare_pipeline.GUIDED},
    "one step": {"num_inference_steps": 1, **bare_pipeline.GUIDED},
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("batch", [1, 2])
def test_visits_carry_the_step_clock_and_branch_that_the_bare_pipeline_has(
    dit, untrained_folder, prompts, name, batch
) -> None:
    call, pipeline = CALLS[name], bare_pipeline.opened(untrained_folder)
    seen = bare_pipeline.generate(pipeline, prompts[:batch], [3, 4][:batch], **call)
    visited = []
    run_traced(dit, list(zip(prompts[:batch], [3, 4], strict=False)), visited.append, **call)

    assert [visit.index for visit in visited] == list(range(len(seen.text)))
    per_step = len(seen.text) // len(seen.scheduler)
    assert [visit.step for visit in visited] == [index // per_step for index in range(len(visited))]
    sigmas, timesteps = zip(*seen.scheduler, strict=True)
    assert [visit.sigma for visit in visited] == [sigmas[visit.step] for visit in visited]
    assert [visit.timestep for visit in visited] == pytest.approx(
        [timesteps[visit.step] / 1000 for visit in visited], rel=1e-6
    )
    assert [visit.timestep for visit in visited] == pytest.approx(seen.timesteps, rel=1e-5)
    # The branch is what the transformer was given to read.
    with torch.no_grad():
        prompt_text = pipeline.encode_prompt(prompts[:batch], max_sequence_length=24)[0]
    reads_prompt = [text.equal(prompt_text) for text in seen.text]
    assert [visit.branch == "cond" for visit in visited] == reads_prompt
    assert {visit.branch for visit in visited} == ({"cond", "uncond"} if per_step == 2 else {"cond"})


def test_statements_after_the_loop_run(dit) -> None:
    with dit.generate(SAMPLE[0][0], seed=0, num_inference_steps=2) as tracer:
        seen = []
        for visit in dit.visits(tracer):
            seen.append(visit.index)
        after = len(seen)
        after.save()
        seen.save()
    assert seen == [0, 1, 2, 3]
    assert after == 4


def test_a_loop_that_is_left_early_lets_the_run_end(dit) -> None:
    expected = dit.generate(SAMPLE[0][0], seed=0, num_inference_steps=2, output_type="np").images
    with dit.generate(SAMPLE[0][0], seed=0, num_inference_steps=2, output_type="np") as tracer:
        for visit in dit.visits(tracer):
            if visit.index == 1:
                break
        images = tracer.result.images.save()
    assert np.array_equal(images, expected)


def read_and_leave(dit, *, at: int, by: str, order: tuple[int, ...]) -> None:
    """Read blocks in some order in one visit, and leave the loop there."""
    with dit.generate(SAMPLE[0][0], seed=0, num_inference_steps=2) as tracer:
        for visit in dit.visits(tracer):
            if visit.index == at:
                for index in order:
                    _ = dit.blocks[index].image
                if by == "break":
                    break
                tracer.stop()


@pytest.mark.parametrize("by", ["break", "stop"])
@pytest.mark.parametrize("at", [1, 2])
def test_a_block_out_of_order_is_found_out_though_the_body_leaves_the_loop(dit, by, at) -> None:
    """nnsight serves the early block from the next visit."""
    with pytest.raises(VisitError, match=f"the body of visit {at} ending in visit {at + 1}; expected in its"):
        read_and_leave(dit, at=at, by=by, order=(5, 0))
    run_traced(dit, SAMPLE, num_inference_steps=1)


@pytest.mark.parametrize("at", [0, 3])
def test_a_block_that_never_comes_again_is_found_out_though_the_body_would_leave(dit, at) -> None:
    """In the first visit nnsight waits for that very block, in the last there is no next one."""
    with pytest.raises(VisitError, match=f"the run ending before the body of visit {at}"):
        read_and_leave(dit, at=at, by="break", order=(5, 0))


@pytest.mark.parametrize("by", ["break", "stop"])
@pytest.mark.parametrize("at", range(4))
def test_blocks_in_order_may_be_followed_by_leaving_the_loop(dit, by, at) -> None:
    read_and_leave(dit, at=at, by=by, order=(0, 5))
    assert dit.run_state.n_visits == (4 if by == "break" else at + 1)


@pytest.mark.parametrize("at", [1, 2])
def test_a_late_write_before_leaving_is_found_out(dit, at) -> None:
    """The write would take effect one visit late."""
    with (
        pytest.raises(VisitError, match=f"the body of visit {at} ending in visit {at + 1}"),
        dit.generate(SAMPLE[0][0], seed=0, num_inference_steps=2) as tracer,
    ):
        for visit in dit.visits(tracer):
            if visit.index == at:
                late = dit.blocks[5].image
                dit.blocks[0].image[:] = late
                break


def test_an_error_of_the_bodys_own_comes_first(dit) -> None:
    with (
        pytest.raises(KeyError, match="mine"),
        dit.generate(SAMPLE[0][0], seed=0, num_inference_steps=2) as tracer,
    ):
        for visit in dit.visits(tracer):
            if visit.index == 1:
                late = dit.blocks[5].image
                early = dit.blocks[0].image
                raise KeyError("mine", late, early)


class AlwaysGuided(Guidance):
    def visited(self, call):
        return self.branches


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("seen_less", [True, False])
def test_a_family_that_describes_other_visits_is_found_out(dit, monkeypatch, steps, seen_less) -> None:
    """Too few described branches, then too many; a single step has no later visit to notice it by."""
    known = dit.family.guidance
    if seen_less:
        guidance = dataclasses.replace(known, branches=("cond",))
    else:
        guidance = AlwaysGuided(known.branches, known.scale, known.negatives)
    monkeypatch.setattr(dit.run_state, "family", dataclasses.replace(dit.family, guidance=guidance))
    with pytest.raises(VisitError) as error:
        run_traced(dit, SAMPLE, num_inference_steps=steps, true_cfg_scale=2.5 if seen_less else 1.0)
    message = str(error.value)
    if steps == 1:
        found, expected = (2, 1) if seen_less else (1, 2)
        assert f"found {found} visits of the transformer" in message
        assert f"expected {expected} by the visit ledger" in message
    else:
        found, expected = (0, "1 (cond)") if seen_less else (1, "0 (uncond)")
        assert f"found visit 1 at the scheduler's step {found}" in message
        assert f"expected step {expected}" in message


def test_a_wrong_unit_of_time_is_found_out(dit, monkeypatch) -> None:
    monkeypatch.setattr(dit.run_state, "family", dataclasses.replace(dit.family, timestep_scale=1.0))
    with pytest.raises(
        VisitError, match="timestep 1 passed to the transformer at visit 0; expected timestep 1000"
    ):
        run_traced(dit, SAMPLE, num_inference_steps=2)


def test_a_pipeline_that_ends_early_is_found_out(dit) -> None:
    def interrupt(pipeline, step, timestep, tensors):
        pipeline._interrupt = True
        return tensors

    with pytest.raises(VisitError, match="found the run interrupted at step 0 of 0 to 2"):
        run_traced(dit, SAMPLE, num_inference_steps=3, callback_on_step_end=interrupt)


def test_step_caching_is_refused_by_name(dit) -> None:
    transformer = dit.diffusers_pipeline.transformer
    transformer.enable_cache(FirstBlockCacheConfig(threshold=0.2))
    try:
        for action in (lambda: run_traced(dit, SAMPLE, num_inference_steps=2), dit.check):
            with pytest.raises(UnsupportedError, match=r"step caching enabled.*disable_cache"):
                action()
    finally:
        transformer.disable_cache()
    run_traced(dit, SAMPLE, num_inference_steps=2)


def test_a_scheduler_of_higher_order_is_refused_by_name(dit, monkeypatch) -> None:
    monkeypatch.setattr(dit.diffusers_pipeline, "scheduler", FlowMatchHeunDiscreteScheduler())
    with pytest.raises(UnsupportedError, match="FlowMatchHeunDiscreteScheduler of order 2"):
        run_traced(dit, SAMPLE, num_inference_steps=2)


def test_bfloat16_timesteps_pass_the_clock(untrained_folder) -> None:
    import ditscope as ds

    dit = ds.load(str(untrained_folder), torch_dtype=torch.bfloat16)
    visited = []
    run_traced(dit, SAMPLE, visited.append, sigmas=[1.0, 0.777, 0.333, 0.111])
    assert [visit.step for visit in visited] == [0, 0, 1, 1, 2, 2, 3, 3]
