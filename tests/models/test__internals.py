"""Every private name that ditscope uses is in the installed libraries and does what it is used for."""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.layerwise_casting import apply_layerwise_casting_hook
from nnsight.intervention.interleaver import Mediator

import ditscope
from ditscope.errors import InputError
from ditscope.models import _internals

SOURCE = Path(ditscope.__file__).parent
CPU = torch.device("cpu")

NAMES = [
    ("nnsight.modeling.diffusion", "_PipelineModule"),
    ("nnsight.modeling.diffusion", "DiffusionModel._load"),
    ("nnsight.modeling.diffusion", "DiffusionModel._batch"),
    ("nnsight.intervention.envoy", "Envoy.interleave"),
    ("nnsight.intervention.envoy", "Envoy._update"),
    ("nnsight.intervention.envoy", "Envoy.modules"),
    ("nnsight.intervention.source", "Controller"),
    ("nnsight.intervention.source", "STATE"),
    ("nnsight.intervention.interleaver", "Interleaver.instrument"),
    ("nnsight.modeling.tp.fragments", "TPFragments"),
    ("diffusers", "DiffusionPipeline._optional_components"),
    ("nnsight.intervention.source", "State.routes"),
    ("nnsight.intervention.source", "State.body"),
    ("nnsight.intervention.source", "State.original"),
    ("nnsight.intervention.interleaver", "EarlyStopException"),
    ("nnsight.intervention.interleaver", "Mediator.current"),
    ("nnsight.intervention.eproperty", "eproperty.transform"),
    ("diffusers", "DiffusionPipeline._execution_device"),
    ("diffusers.hooks.hooks", "HookRegistry.get_hook"),
    ("diffusers.hooks.group_offloading", "ModuleGroup"),
    ("accelerate.hooks", "AlignDevicesHook"),
    ("torch.nn", "Module._compiled_call_impl"),
    ("torch.nn", "Module._save_to_state_dict"),
    ("torch.nn.modules.module", "_global_forward_hooks"),
    ("torch.nn.modules.module", "_global_forward_pre_hooks"),
    ("diffusers.models.attention_dispatch", "_AttentionBackendRegistry._active_backend"),
]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_private_name_is_there(module, name) -> None:
    value = importlib.import_module(module)
    for part in name.split("."):
        assert hasattr(value, part), f"the installed {module} has no {name}"
        value = getattr(value, part)


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
    assert known.get(name) in _internals.HARMLESS_HOOKS, f"diffusers has no {name}, or calls it otherwise"


class Doubling(torch.nn.Module):
    """A network of a size that hooks can be tried on."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.inner(x)


def unwrapped(module: torch.nn.Module) -> list:
    """The forward and what it wraps, from the outside in."""
    chain = [module.forward]
    while (inner := _internals.wrapped_forward(chain[-1])) is not None:
        chain.append(inner)
    return chain


def test_a_plain_module_wraps_nothing_and_is_not_offloaded() -> None:
    module = Doubling()
    assert unwrapped(module) == [module.forward]
    assert not _internals.diffusers_hooks(module)
    assert list(_internals.accelerate_hooks(module)) == []
    assert _internals.disk_group(module) is None
    assert not _internals.is_compiled(module)
    assert not _internals.is_traced(module.forward)


def test_accelerates_wrapper_and_weights_are_known() -> None:
    module = Doubling()
    expected = module.inner.weight.clone()
    accelerate.cpu_offload(module, CPU)
    assert module.inner.weight.is_meta
    (hook,) = _internals.accelerate_hooks(module.inner)
    assert hook.place_submodules is False
    assert hook.weights_map["weight"].equal(expected)
    assert unwrapped(module)[-1].__func__ is Doubling.forward


def test_the_wrapper_of_diffusers_hooks_is_known() -> None:
    module = Doubling()
    apply_layerwise_casting_hook(module, torch.float32, torch.float32, non_blocking=False)
    assert list(_internals.diffusers_hooks(module)) == ["layerwise_casting"]
    assert len(unwrapped(module)) > 1
    assert unwrapped(module)[-1].__func__ is Doubling.forward


def test_groups_that_are_offloaded_to_disk_are_known(tmp_path) -> None:
    module = torch.nn.Sequential(Doubling(), Doubling())
    apply_group_offloading(module, CPU, CPU, offload_type="leaf_level", offload_to_disk_path=str(tmp_path))
    groups = [group for part in module.modules() if (group := _internals.disk_group(part)) is not None]
    assert len(groups) == 2
    assert all(_internals.GROUP_OFFLOAD in _internals.diffusers_hooks(part.inner) for part in module)
    for (path, keys), part in zip(groups, module, strict=True):
        assert Path(path).is_file()
        assert {id(tensor) for tensor in keys} == {id(tensor) for tensor in part.inner.parameters()}


def test_hooks_of_torch_are_known_on_a_module_and_on_all() -> None:
    module, hooks = Doubling(), torch.nn.modules.module
    ways = (
        (module.register_forward_pre_hook, (True, False)),
        (module.register_forward_hook, (False, True)),
        (hooks.register_module_forward_pre_hook, (True, False)),
        (hooks.register_module_forward_hook, (False, True)),
    )
    for register, expected in ways:
        with register(lambda *_: None):
            assert _internals.torch_hooks(module) == expected
    assert _internals.torch_hooks(module) == (False, False)


def test_compiled_modules_are_known() -> None:
    module = Doubling()
    assert _internals.is_compiled(torch.compile(module))
    module.compile()
    assert _internals.is_compiled(module)


def test_what_nnsight_puts_on_a_module_is_known(dit) -> None:
    block = dit.blocks[0]
    module = _internals.module_of(block)
    assert module is dit.diffusers_pipeline.transformer.transformer_blocks[0]
    assert any(map(_internals.is_traced, unwrapped(module)))
    last = unwrapped(module)[-1]
    assert getattr(last, "__func__", last) is type(module).forward


def test_envoys_follow_the_modules_and_know_their_edits(dit) -> None:
    norm, envoy = dit.diffusers_pipeline.transformer.transformer_blocks[0].norm1, dit.blocks[0].norm1.linear
    root, original = _internals.module_of(dit), norm.linear
    assert not dit.follow(root)
    norm.linear = torch.nn.Sequential(original)
    assert dit.follow(root)
    assert not dit.follow(root)
    assert dit.blocks[0].norm1.linear is envoy
    assert _internals.module_of(envoy) is norm.linear
    assert _internals.module_of(envoy[0]) is original
    norm.linear = original
    assert dit.follow(root)
    assert _internals.module_of(envoy) is original
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


def test_hooks_of_torch_on_one_module_and_on_all_are_known() -> None:
    def hook(*_) -> None: ...

    module = Doubling()
    with module.register_forward_hook(hook), module.register_forward_pre_hook(hook):
        assert _internals.forward_hooks(module) == [hook, hook]
        assert _internals.forward_hooks(module.inner) == _internals.forward_hooks(None) == []
    with torch.nn.modules.module.register_module_forward_hook(hook):
        assert _internals.forward_hooks(None) == [hook]
    assert _internals.forward_hooks(module) == []


def test_the_attention_that_runs_where_none_is_asked_for_is_known() -> None:
    from diffusers.models.attention_dispatch import attention_backend

    assert _internals.attention_backend() == "native"
    with attention_backend("_native_math"):
        assert _internals.attention_backend() == "_native_math"


def test_a_later_call_of_a_module_can_be_asked_for(dit) -> None:
    call = {"num_inference_steps": 1, "height": 32, "width": 48, "true_cfg_scale": 2.0, "negative_prompt": ""}
    with dit.generate("a red circle", seed=0, **call):
        worker = Mediator.current("a test")
        before = worker.iteration
        with _internals.of_occurrence("a test", 1):
            _ = dit.blocks[0].attn.output
            visit = dit.run_state.n_visits
            visit.save()
        restored = worker.iteration == before
        restored.save()
    assert (visit, restored) == (2, True)


def test_the_device_that_computes_is_known(dit) -> None:
    assert _internals.compute_device(dit.diffusers_pipeline) == CPU


def test_the_device_of_offloaded_networks_is_where_their_hooks_compute(dit, monkeypatch) -> None:
    hook = accelerate.hooks.AlignDevicesHook(execution_device=torch.device("meta"))
    for part in dit.diffusers_pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            monkeypatch.setitem(part.__dict__, "_hf_hook", hook)
    assert _internals.compute_device(dit.diffusers_pipeline) == torch.device("meta")


def test_hooks_that_a_run_leaves_nothing_of_are_not_asked_for_the_device(dit, monkeypatch) -> None:
    """A run leaves an empty registry; one with a hook is the group offload's, whose device diffusers knows."""
    pipeline = dit.diffusers_pipeline
    registry = HookRegistry.check_if_exists_or_initialize(pipeline.transformer)
    asked = property(lambda self: torch.device("meta"))
    monkeypatch.setattr(pipeline, "__class__", type("Asked", (type(pipeline),), {"_execution_device": asked}))
    assert _internals.compute_device(pipeline) == CPU
    monkeypatch.setitem(registry.hooks, "group_offloading", object())
    assert _internals.compute_device(pipeline) == torch.device("meta")


def test_a_module_may_run_something_around_its_own_forward(dit) -> None:
    module, ones = dit.diffusers_pipeline.transformer.x_embedder, torch.ones(1, 16)
    own = module(ones)
    with _internals.running_instead(module, lambda forward, *args: forward(*args) + forward(args[0] * 2)):
        both = module(ones)
    assert torch.equal(both, own + module(ones * 2))
    assert torch.equal(module(ones), own)


def test_a_quantized_tensor_is_known_by_its_parts() -> None:
    assert _internals.inner_tensors(torch.ones(2)) is None
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    names, _ = _internals.inner_tensors(nested)
    assert all(isinstance(getattr(nested, name), torch.Tensor) for name in names)


def test_writes_in_place_are_counted() -> None:
    tensor = torch.ones(2)
    before = _internals.write_count(tensor)
    tensor[:1].mul_(2)
    assert _internals.write_count(tensor) != before
    with torch.inference_mode():
        assert _internals.write_count(torch.ones(2).mul_(2)) == 0


class Saving(torch.nn.Linear):
    """One that saves its scale beside."""

    def get_extra_state(self) -> torch.Tensor:
        return torch.ones(1)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Nothing to be done."""


def added_by_a_hook(network: torch.nn.Module) -> None:
    network[0].register_state_dict_post_hook(lambda _, state, prefix, meta: state.update({"more": state}))


def saved_beside(network: torch.nn.Module) -> None:
    network[0] = Saving(2, 2)


def saved_by_itself(network: torch.nn.Module) -> None:
    network[0].state_dict = lambda *_, **__: {"more": torch.ones(1)}


def shared_buffer(network: torch.nn.Module) -> None:
    network.append(network[1])


@pytest.mark.parametrize("change", [added_by_a_hook, saved_beside, saved_by_itself, shared_buffer])
def test_whether_a_network_saves_more_than_its_parameters_and_buffers_is_known(change) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    network.append(network[2])
    network[0].weight = network[2].weight
    named = {*dict(network.named_parameters(remove_duplicate=False)), *dict(network.named_buffers())}
    assert network.state_dict().keys() <= named
    assert not _internals.saves_more(list(network.modules()))
    change(network)
    assert _internals.saves_more(list(network.modules()))


def private_names(path: Path) -> set[str]:
    """Names with one leading underscore that a file takes from something other than itself."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and _stored(node)}
    defined |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and _named(node)}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("ditscope"):
            used |= {alias.name for alias in node.names}
    return {name for name in used - defined if name.startswith("_") and not name.startswith("__")}


def _stored(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _named(node: ast.AnnAssign) -> bool:
    return isinstance(node.target, ast.Name)


def test_private_names_are_reached_through_this_file_only() -> None:
    allowed = {
        "_fields",  # of named tuples, documented
        "_replace",
        "_asdict",
        "_axinfo",  # of matplotlib, which no model runs on
        "_set_position",
    }
    others = {
        str(path.relative_to(SOURCE)): private_names(path) - allowed
        for path in SOURCE.rglob("*.py")
        if path.name != "_internals.py"
    }
    assert {path: names for path, names in others.items() if names} == {}
    assert inspect.getfile(_internals) == str(SOURCE / "models" / "_internals.py")


def test_modules_and_tensors_are_those_that_torch_names() -> None:
    network = torch.nn.ModuleDict({"first": Doubling(), "norm": torch.nn.BatchNorm1d(2, affine=False)})
    network["tied"] = torch.nn.Sequential(network["first"].inner, torch.nn.Linear(2, 2, bias=False))
    network["tied"][1].weight = network["first"].inner.weight
    network["norm"].register_buffer("another", network["norm"].running_mean, persistent=False)
    network["first"].register_module("absent", None)
    members = _internals.members_of(network)
    assert members == list(network.named_modules())
    found = [[(name, id(tensor)) for name, tensor in own] for own in _internals.tensors_of(members)]
    expected = network.named_parameters(), network.named_buffers()
    assert found == [[(name, id(tensor)) for name, tensor in own] for own in expected]


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
        assert len(each._module.__dict__[_internals.STATE].routes) == 1
        run(each)


def test_what_is_put_around_a_module_that_is_passed_by_stays_around_nnsights_forward(dit) -> None:
    block, other = dit.blocks[0], dit.blocks[1]
    module = other._module

    def run(envoy) -> Any:
        with dit.generate("a red circle", seed=0, num_inference_steps=1, output_type="np"):
            hidden = envoy.output[1].clone().save()
        return hidden

    before = run(other)
    assert _internals.is_traced(module.forward)
    with dit.serving([dit.transformer, block]):
        assert _internals.is_aside(module)
        assert _internals.is_traced(block._module.forward)
        assert "forward" not in vars(module)
        add_hook_to_module(module, ModelHook())
    assert not _internals.is_aside(module)
    assert not _internals.is_traced(module.forward)
    assert any(map(_internals.is_traced, unwrapped(module)))
    assert (run(other) == before).all()
    remove_hook_from_module(module)
    assert _internals.is_traced(module.forward)
    assert (run(other) == before).all()


class Found(torch.nn.Module):
    """What is asked of it is found by its own search."""

    def __getattr__(self, name: str) -> Any:
        return "found" if name == "processor" else super().__getattr__(name)


def test_an_attribute_is_what_getattr_gives_wherever_it_is() -> None:
    with_one, with_a_module, of_the_class = (torch.nn.Linear(1, 1) for _ in range(3))
    with_one.processor, with_a_module.processor = 1, torch.nn.Identity()
    of_the_class.__class__ = type("Classed", (torch.nn.Linear,), {"processor": "a class's"})
    for module in (with_one, with_a_module, of_the_class, Found(), torch.nn.Identity()):
        assert _internals.attribute_of(module, "processor") is getattr(module, "processor", None)


def test_a_module_runs_its_own_forward_unless_any_other_is_set_on_it(dit) -> None:
    block = dit.diffusers_pipeline.transformer.transformer_blocks[0]
    kind = type("Asked", (torch.nn.Linear,), {"forward": property(lambda self: len)})
    plain, asked = torch.nn.Linear(1, 1), kind(1, 1)
    assert _internals.runs_own_forward(plain)
    assert _internals.runs_own_forward(block)
    assert not _internals.runs_own_forward(asked)
    for other in (torch.nn.Linear(1, 1).forward, lambda x: x, types.MethodType(lambda self, x: x, plain)):
        plain.forward = other
        assert not _internals.runs_own_forward(plain)


def test_a_pipeline_computes_where_diffusers_says(dit) -> None:
    pipeline = dit.diffusers_pipeline
    assert _internals.compute_device(pipeline) == pipeline.device == pipeline._execution_device
    shared = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Sequential(torch.nn.Identity()))
    shared.append(shared[1])
    assert list(_internals.modules_in([shared, shared])) == [shared, *shared[:2], shared[1][0]]
