"""Diffusers' hooks, devices and attention are what they are taken for."""

from __future__ import annotations

import importlib
from pathlib import Path

import accelerate
import pytest
import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.layerwise_casting import apply_layerwise_casting_hook
from diffusers.models import attention_dispatch

from ditscope.models._internals.of_diffusers import (
    GROUP_OFFLOAD,
    HARMLESS_HOOKS,
    attention_backend,
    compute_device,
    diffusers_hooks,
    disk_group,
)
from ditscope.models._internals.of_torch import modules_in
from doubling import Doubling, unwrapped

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("group_offloading", "_GROUP_OFFLOADING"),
        ("group_offloading", "_LAYER_EXECUTION_TRACKER"),
        ("group_offloading", "_LAZY_PREFETCH_GROUP_OFFLOADING"),
        ("layerwise_casting", "_LAYERWISE_CASTING_HOOK"),
        ("layerwise_casting", "_PEFT_AUTOCAST_DISABLE_HOOK"),
    ],
)
def test_the_harmless_hooks_have_the_names_that_diffusers_gives_them(module, name) -> None:
    known = vars(importlib.import_module(f"diffusers.hooks.{module}"))
    assert known.get(name) in HARMLESS_HOOKS, f"diffusers has no {name}, or calls it otherwise"


def test_the_wrapper_of_diffusers_hooks_is_known() -> None:
    module = Doubling()
    apply_layerwise_casting_hook(module, torch.float32, torch.float32, non_blocking=False)
    assert list(diffusers_hooks(module)) == ["layerwise_casting"]
    assert len(unwrapped(module)) > 1
    assert unwrapped(module)[-1].__func__ is Doubling.forward


def test_groups_that_are_offloaded_to_disk_are_known(tmp_path) -> None:
    module = torch.nn.Sequential(Doubling(), Doubling())
    apply_group_offloading(module, CPU, CPU, offload_type="leaf_level", offload_to_disk_path=str(tmp_path))
    groups = [group for part in module.modules() if (group := disk_group(part)) is not None]
    assert len(groups) == 2
    assert all(GROUP_OFFLOAD in diffusers_hooks(part.inner) for part in module)
    for (path, keys), part in zip(groups, module, strict=True):
        assert Path(path).is_file()
        assert {id(tensor) for tensor in keys} == {id(tensor) for tensor in part.inner.parameters()}


def test_the_attention_that_runs_where_none_is_asked_for_is_known() -> None:
    assert attention_backend() == "native"
    with attention_dispatch.attention_backend("_native_math"):
        assert attention_backend() == "_native_math"


def test_the_device_that_computes_is_known(dit) -> None:
    assert compute_device(dit.diffusers_pipeline) == CPU


def test_the_device_of_offloaded_networks_is_where_their_hooks_compute(dit, monkeypatch) -> None:
    hook = accelerate.hooks.AlignDevicesHook(execution_device=torch.device("meta"))
    for part in dit.diffusers_pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            monkeypatch.setitem(part.__dict__, "_hf_hook", hook)
    assert compute_device(dit.diffusers_pipeline) == torch.device("meta")


def test_hooks_that_a_run_leaves_nothing_of_are_not_asked_for_the_device(dit, monkeypatch) -> None:
    """A run leaves an empty registry; one with a hook is the group offload's, whose device diffusers knows."""
    pipeline = dit.diffusers_pipeline
    registry = HookRegistry.check_if_exists_or_initialize(pipeline.transformer)
    asked = property(lambda self: torch.device("meta"))
    monkeypatch.setattr(pipeline, "__class__", type("Asked", (type(pipeline),), {"_execution_device": asked}))
    assert compute_device(pipeline) == CPU
    monkeypatch.setitem(registry.hooks, "group_offloading", object())
    assert compute_device(pipeline) == torch.device("meta")


def test_a_pipeline_computes_where_diffusers_says(dit) -> None:
    pipeline = dit.diffusers_pipeline
    assert compute_device(pipeline) == pipeline.device == pipeline._execution_device
    shared = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Sequential(torch.nn.Identity()))
    shared.append(shared[1])
    assert list(modules_in([shared, shared])) == [shared, *shared[:2], shared[1][0]]
