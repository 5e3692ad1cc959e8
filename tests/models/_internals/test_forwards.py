"""What libraries put around a module's forward is known, and what stays there while nothing is asked of nnsight."""

from __future__ import annotations

import types
from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

from ditscope.models._internals.forwards import is_aside, is_traced, runs_own_forward
from ditscope.models._internals.of_accelerate import accelerate_hooks
from ditscope.models._internals.of_diffusers import diffusers_hooks, disk_group
from ditscope.models._internals.of_nnsight import module_of
from ditscope.models._internals.of_torch import is_compiled
from doubling import Doubling, unwrapped


def test_a_plain_module_wraps_nothing_and_is_not_offloaded() -> None:
    module = Doubling()
    assert unwrapped(module) == [module.forward]
    assert not diffusers_hooks(module)
    assert list(accelerate_hooks(module)) == []
    assert disk_group(module) is None
    assert not is_compiled(module)
    assert not is_traced(module.forward)


def test_what_nnsight_puts_on_a_module_is_known(dit) -> None:
    block = dit.blocks[0]
    module = module_of(block)
    assert module is dit.diffusers_pipeline.transformer.transformer_blocks[0]
    assert any(map(is_traced, unwrapped(module)))
    last = unwrapped(module)[-1]
    assert getattr(last, "__func__", last) is type(module).forward


def test_what_is_put_around_a_module_that_is_passed_by_stays_around_nnsights_forward(dit) -> None:
    block, other = dit.blocks[0], dit.blocks[1]
    module = other._module

    def run(envoy) -> Any:
        with dit.generate("a red circle", seed=0, num_inference_steps=1, output_type="np"):
            hidden = envoy.output[1].clone().save()
        return hidden

    before = run(other)
    assert is_traced(module.forward)
    with dit.serving([dit.transformer, block]):
        assert is_aside(module)
        assert is_traced(block._module.forward)
        assert "forward" not in vars(module)
        add_hook_to_module(module, ModelHook())
    assert not is_aside(module)
    assert not is_traced(module.forward)
    assert any(map(is_traced, unwrapped(module)))
    assert (run(other) == before).all()
    remove_hook_from_module(module)
    assert is_traced(module.forward)
    assert (run(other) == before).all()


def test_a_module_runs_its_own_forward_unless_any_other_is_set_on_it(dit) -> None:
    block = dit.diffusers_pipeline.transformer.transformer_blocks[0]
    kind = type("Asked", (torch.nn.Linear,), {"forward": property(lambda self: len)})
    plain, asked = torch.nn.Linear(1, 1), kind(1, 1)
    assert runs_own_forward(plain)
    assert runs_own_forward(block)
    assert not runs_own_forward(asked)
    for other in (torch.nn.Linear(1, 1).forward, lambda x: x, types.MethodType(lambda self, x: x, plain)):
        plain.forward = other
        assert not runs_own_forward(plain)
