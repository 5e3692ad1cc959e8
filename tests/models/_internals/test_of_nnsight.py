"""nnsight follows the modules, serves where it is asked, and is told of no block whose source it cannot find."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from nnsight.intervention.interleaver import Mediator

from ditscope.errors import InputError
from ditscope.models._internals.of_nnsight import STATE, module_of, of_occurrence, running_instead


def test_envoys_follow_the_modules_and_know_their_edits(dit) -> None:
    norm, envoy = dit.diffusers_pipeline.transformer.transformer_blocks[0].norm1, dit.blocks[0].norm1.linear
    root, original = module_of(dit), norm.linear
    assert not dit.follow(root)
    norm.linear = torch.nn.Sequential(original)
    assert dit.follow(root)
    assert not dit.follow(root)
    assert dit.blocks[0].norm1.linear is envoy
    assert module_of(envoy) is norm.linear
    assert module_of(envoy[0]) is original
    norm.linear = original
    assert dit.follow(root)
    assert module_of(envoy) is original
    assert list(envoy) == []
    assert dit.n_persistent_edits == 0
    with dit.edit(inplace=True):
        dit.blocks[0].image[:] = 0
    assert dit.n_persistent_edits == 1
    dit.clear_edits()


RUN = "dit.generate(prompt, seed=0, output_type='np', num_inference_steps=1, height=16, width=16)"


UNREAD = {
    "a block": f"with {RUN} as tracer:\n    image = tracer.result.save()",
    "two managers": f"with {RUN} as tracer, open(nowhere) as file:\n    pass",
    "the second of two": f"with open(somewhere) as file, {RUN} as tracer:\n    pass",
    "over lines": "with dit.generate(\n    prompt,\n    seed=0,\n) as tracer:\n    image = 1",
    "arguments unpacked": "with dit.generate(prompt, **{'seed': 0}):\n    image = 1",
    "in a function": f"def inside():\n    with {RUN}:\n        image = 1\ninside()",
}


@pytest.mark.parametrize("code", UNREAD.values(), ids=UNREAD)
def test_a_with_block_without_source_is_refused_before_the_run(dit, monkeypatch, code) -> None:
    """As typed into an interpreter, piped into one, or in a cell under ``%%time``."""
    calls: list[int] = []
    monkeypatch.setattr(dit.run_state, "begun", lambda *_: calls.append(1))
    names = {"dit": dit, "prompt": "a red circle", "nowhere": "/nowhere", "somewhere": __file__}
    with pytest.raises(
        InputError, match=r"a with block in <string>, line \d, whose source nnsight cannot find"
    ):
        exec(code, names)
    assert calls == []


CALLS = {
    "a statement": RUN,
    "an assignment": f"output = {RUN}",
    "an argument": f"with nullcontext({RUN}) as output:\n    output.images",
}


@pytest.mark.parametrize("code", CALLS.values(), ids=CALLS)
def test_a_call_without_source_that_is_no_block_runs(dit, monkeypatch, code) -> None:
    monkeypatch.setattr(dit.run_state, "n_visits", 0)
    exec(code, {"dit": dit, "prompt": "a red circle", "nullcontext": nullcontext})
    assert dit.run_state.n_visits > 0


def test_a_later_call_of_a_module_can_be_asked_for(dit) -> None:
    call = {"num_inference_steps": 1, "height": 32, "width": 48, "true_cfg_scale": 2.0, "negative_prompt": ""}
    with dit.generate("a red circle", seed=0, **call):
        worker = Mediator.current("a test")
        before = worker.iteration
        with of_occurrence("a test", 1):
            _ = dit.blocks[0].attn.output
            visit = dit.run_state.n_visits
            visit.save()
        restored = worker.iteration == before
        restored.save()
    assert (visit, restored) == (2, True)


def test_a_module_may_run_something_around_its_own_forward(dit) -> None:
    module, ones = dit.diffusers_pipeline.transformer.x_embedder, torch.ones(1, 16)
    own = module(ones)
    with running_instead(module, lambda forward, *args: forward(*args) + forward(args[0] * 2)):
        both = module(ones)
    assert torch.equal(both, own + module(ones * 2))
    assert torch.equal(module(ones), own)


def test_a_run_that_serves_at_some_modules_makes_the_same_and_passes_others_by(dit) -> None:
    def run(envoy) -> tuple[Any, bool]:
        with dit.generate("a red circle", seed=0, num_inference_steps=1, output_type="np") as tracer:
            hidden = envoy.output[1].clone().save()
            image = tracer.result.save()
        return hidden, image.images

    transformer, block, other = dit.transformer, dit.blocks[0], dit.blocks[1]
    before = run(block)
    with dit.serving([transformer, block]):
        after = run(block)
        assert all((one == same).all() for one, same in zip(before, after, strict=True))
        with pytest.raises(Exception, match=r"transformer_blocks\.1\.output"):
            run(other)
        dit.interleaver.instrument(other)  # as for another module
        run(other)
    for each in (other, dit.blocks[2]):
        assert len(each._module.__dict__[STATE].routes) == 1
        run(each)
