"""What is told of torch's modules and tensors is what torch tells."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ditscope.models._internals.of_torch import (
    attribute_of,
    forward_hooks,
    inner_tensors,
    is_compiled,
    members_of,
    saves_more,
    tensors_of,
    torch_hooks,
    write_count,
)
from doubling import Doubling


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
            assert torch_hooks(module) == expected
    assert torch_hooks(module) == (False, False)


def test_hooks_of_torch_on_one_module_and_on_all_are_known() -> None:
    def hook(*_) -> None: ...

    module = Doubling()
    with module.register_forward_hook(hook), module.register_forward_pre_hook(hook):
        assert forward_hooks(module) == [hook, hook]
        assert forward_hooks(module.inner) == forward_hooks(None) == []
    with torch.nn.modules.module.register_module_forward_hook(hook):
        assert forward_hooks(None) == [hook]
    assert forward_hooks(module) == []


def test_compiled_modules_are_known() -> None:
    module = Doubling()
    assert is_compiled(torch.compile(module))
    module.compile()
    assert is_compiled(module)


def test_a_quantized_tensor_is_known_by_its_parts() -> None:
    assert inner_tensors(torch.ones(2)) is None
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    names, _ = inner_tensors(nested)
    assert all(isinstance(getattr(nested, name), torch.Tensor) for name in names)


def test_writes_in_place_are_counted() -> None:
    tensor = torch.ones(2)
    before = write_count(tensor)
    tensor[:1].mul_(2)
    assert write_count(tensor) != before
    with torch.inference_mode():
        assert write_count(torch.ones(2).mul_(2)) == 0


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
    assert not saves_more(list(network.modules()))
    change(network)
    assert saves_more(list(network.modules()))


def test_modules_and_tensors_are_those_that_torch_names() -> None:
    network = torch.nn.ModuleDict({"first": Doubling(), "norm": torch.nn.BatchNorm1d(2, affine=False)})
    network["tied"] = torch.nn.Sequential(network["first"].inner, torch.nn.Linear(2, 2, bias=False))
    network["tied"][1].weight = network["first"].inner.weight
    network["norm"].register_buffer("another", network["norm"].running_mean, persistent=False)
    network["first"].register_module("absent", None)
    members = members_of(network)
    assert members == list(network.named_modules())
    found = [[(name, id(tensor)) for name, tensor in own] for own in tensors_of(members)]
    expected = network.named_parameters(), network.named_buffers()
    assert found == [[(name, id(tensor)) for name, tensor in own] for own in expected]


class Found(torch.nn.Module):
    """What is asked of it is found by its own search."""

    def __getattr__(self, name: str) -> Any:
        return "found" if name == "processor" else super().__getattr__(name)


def test_an_attribute_is_what_getattr_gives_wherever_it_is() -> None:
    with_one, with_a_module, of_the_class = (torch.nn.Linear(1, 1) for _ in range(3))
    with_one.processor, with_a_module.processor = 1, torch.nn.Identity()
    of_the_class.__class__ = type("Classed", (torch.nn.Linear,), {"processor": "a class's"})
    for module in (with_one, with_a_module, of_the_class, Found(), torch.nn.Identity()):
        assert attribute_of(module, "processor") is getattr(module, "processor", None)
