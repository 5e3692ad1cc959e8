"""The run in progress: what it is known by, and when it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import FirstBlockCacheConfig

import bare_pipeline
import ditscope as ds
from ditscope.errors import UnsupportedError, VisitError
from ditscope.models import run_state
from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced

CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
PROMPT = "a small red circle at the left on a plain blue background"


def test_the_run_knows_its_call_its_visit_and_its_samples(dit, prompts) -> None:
    seen = []

    def note(visit) -> None:
        run = dit.run_state
        seen.append((run.n_visits - 1 == visit.index, run.samples, run.inputs.grid))

    run_traced(dit, [(prompts[0], 4), (prompts[1], 9)], note, **CALL)
    assert seen == [(True, [(prompts[0], 4), (prompts[1], 9)], (4, 8))] * 4
    assert dit.run_state.progress.finished == len(dit.run_state.progress.schedule) == 4


def test_samples_are_the_rows_of_a_branch_where_a_prompt_has_several_images(dit) -> None:
    with dit.generate(["a", "b"], seed=3, num_images_per_prompt=2, **CALL) as tracer:
        for _ in dit.visits(tracer):
            samples = dit.run_state.samples.save()
            latents = dit.run_state.inputs.latents.clone().save()
            tracer.stop()
    assert samples == [("a", 3), ("a", 4), ("b", 5), ("b", 6)]
    for row, (prompt, seed) in enumerate(samples):
        alone = run_traced(dit, [(prompt, seed)], keep_latents=True, **CALL).latents[0, 0]
        assert np.array_equal(latents[row].numpy(), alone)


def test_embeddings_have_no_prompt(dit) -> None:
    pipeline = dit.diffusers_pipeline
    with torch.no_grad():
        embedded, pooled, _ = pipeline.encode_prompt(["a red circle", "a star"], max_sequence_length=24)
    call = {"num_inference_steps": 1, **bare_pipeline.PLAIN}
    dit.generate(prompt_embeds=embedded, pooled_prompt_embeds=pooled, seed=3, **call, negative_prompt=None)
    assert dit.run_state.samples == [(None, 3), (None, 4)]


@pytest.fixture
def refusals(monkeypatch) -> list[int]:
    """Visits that had begun whenever a run was examined for what would be refused."""
    counted: list[int] = []
    real = run_state.refuse_unmapped

    def counting(run, call) -> dict:
        counted.append(run.n_visits)
        return real(run, call)

    monkeypatch.setattr(run_state, "refuse_unmapped", counting)
    return counted


def test_every_traced_run_is_examined_once_before_its_first_visit(dit, refusals, tmp_path) -> None:
    run_traced(dit, [(PROMPT, 0)], **CALL)
    assert refusals == [0]
    probe(dit, [(PROMPT, 0)], **CALL)
    assert refusals == [0] * 2
    with ds.record(dit, tmp_path / "store.zarr", tensors=False) as rec:
        rec.generate([PROMPT, "a white star"], 0, **CALL)
    assert refusals == [0] * 5  # a probe and two images
    dit.check(**CALL)
    assert refusals == [0] * 8  # three traced runs


@pytest.mark.parametrize("late", [False, True])
def test_two_loops_over_one_run_are_examined_once(dit, refusals, late) -> None:
    with dit.generate(num_inference_steps=1, **bare_pipeline.PLAIN) as tracer:
        with tracer.invoke(PROMPT):
            if late:
                dit.text_encoder.output[0].clone()
            for _ in dit.visits(tracer):
                dit.blocks[0].image.clone()
        with tracer.invoke():
            if late:
                dit.text_encoder.output[0].clone()
            for _ in dit.visits(tracer):
                dit.blocks[0].text.clone()
    assert refusals == [0]


def test_a_run_without_a_loop_over_its_visits_is_not_examined(dit, refusals) -> None:
    dit.generate(PROMPT, seed=0, num_inference_steps=1, **bare_pipeline.PLAIN)
    with dit.generate(PROMPT, seed=0, num_inference_steps=1, **bare_pipeline.PLAIN):
        dit.blocks[0].image.clone()
    assert refusals == []


def test_visits_that_are_asked_for_late_are_examined_then(dit, refusals) -> None:
    with dit.generate(PROMPT, seed=0, num_inference_steps=1, **bare_pipeline.PLAIN) as tracer:
        dit.text_encoder_2.output[0].clone()
        for _ in dit.visits(tracer):
            dit.blocks[0].image.clone()
    assert refusals == [0]


@pytest.fixture
def cached(dit):
    """The model with step caching, which is refused."""
    transformer = dit.diffusers_pipeline.transformer
    transformer.enable_cache(FirstBlockCacheConfig(threshold=0.2))
    yield dit
    transformer.disable_cache()


def test_a_refused_run_computes_nothing_and_writes_nothing(cached, tmp_path) -> None:
    encoded = []
    hook = cached.diffusers_pipeline.text_encoder_2.register_forward_pre_hook(lambda *_: encoded.append(1))

    def in_a_trace() -> None:
        with cached.generate(PROMPT, seed=0, **CALL) as tracer:
            for _ in cached.visits(tracer):
                cached.blocks[0].image[:] = 0

    def in_a_recording() -> None:
        with ds.record(cached, tmp_path / "store.zarr") as rec:
            rec.generate(PROMPT, 0, **CALL)

    try:
        for action in (lambda: run_traced(cached, [(PROMPT, 0)], **CALL), in_a_trace, in_a_recording):
            with pytest.raises(UnsupportedError, match="step caching enabled"):
                action()
    finally:
        hook.remove()
    assert encoded == []
    assert not (tmp_path / "store.zarr").exists()


def test_a_plain_run_is_not_refused_even_after_a_refused_one(cached) -> None:
    with pytest.raises(UnsupportedError):
        run_traced(cached, [(PROMPT, 0)], **CALL)
    images = cached.generate(PROMPT, seed=0, **CALL, output_type="np").images
    assert images.shape == (1, 16, 32, 3)


def test_a_loop_that_never_began_does_not_speak_for_the_next_run(cached) -> None:
    """The second body fails before the model runs, while the first waits for it."""

    def broken() -> None:
        with cached.generate(**CALL) as tracer:
            with tracer.invoke(PROMPT):
                for _ in cached.visits(tracer):
                    cached.blocks[0].image[:] = 0
            with tracer.invoke():
                raise KeyError("mine")

    with pytest.raises(KeyError):
        broken()
    assert cached.generate(PROMPT, seed=0, **CALL, output_type="np").images.shape == (1, 16, 32, 3)


def test_a_loop_that_was_never_closed_does_not_speak_for_the_next_run(dit, refusals) -> None:
    """A loop over an iterator that has a name cannot be seen to be left."""
    call, kept = {"num_inference_steps": 1, **bare_pipeline.PLAIN}, []
    with pytest.raises(VisitError), dit.generate(PROMPT, seed=0, **call) as tracer:
        kept.append(dit.visits(tracer))
        for _ in kept[0]:
            dit.blocks[0].image.clone()
            break
    dit.generate(PROMPT, seed=0, **call)
    assert refusals == [0]


def test_a_run_after_a_failing_pipeline_is_a_new_one(dit) -> None:
    with pytest.raises(TypeError):
        run_traced(dit, [(PROMPT, 0)], num_inference_steps=1, height="tall")
    run_traced(dit, [(PROMPT, 0)], num_inference_steps=1, **bare_pipeline.PLAIN)
