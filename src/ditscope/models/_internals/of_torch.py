"""Private names of torch: a module's hooks, members, tensors and attributes, told sooner than torch tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.modules import module as torch_modules


def torch_hooks(module: torch.nn.Module) -> tuple[bool, bool]:
    """Whether torch's own forward pre-hooks and forward hooks are on the module, or on all; nnsight reads inside."""
    return (
        bool(module._forward_pre_hooks or torch_modules._global_forward_pre_hooks),
        bool(module._forward_hooks or torch_modules._global_forward_hooks),
    )


def forward_hooks(module: torch.nn.Module | None) -> list[Callable[..., Any]]:
    """Torch's own forward hooks on a module, or those on all modules."""
    if module is None:
        return [
            *torch_modules._global_forward_pre_hooks.values(),
            *torch_modules._global_forward_hooks.values(),
        ]
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def with_forward_hooks(members: Iterable[tuple[str, torch.nn.Module]]) -> list[tuple[str, torch.nn.Module]]:
    """The modules with forward hooks of torch's on them."""
    return [each for each in members if each[1]._forward_hooks or each[1]._forward_pre_hooks]


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether ``torch.compile`` or ``module.compile()`` changed what runs."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def members_of(module: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """``module.named_modules()`` as a list, in a third of the time."""
    found, seen = [("", module)], {id(module)}

    def add(prefix: str, owner: torch.nn.Module) -> None:
        for name, child in owner._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append((prefix + name, child))
                if child._modules:
                    add(f"{prefix}{name}.", child)

    add("", module)
    return found


def children_of(module: torch.nn.Module) -> Mapping[str, torch.nn.Module | None]:
    """A module's own submodules by name."""
    return module._modules


def modules_in(modules: Iterable[torch.nn.Module]) -> Iterable[torch.nn.Module]:
    """Modules and all inside them, each once: without their names, in a third of the time of :func:`members_of`."""
    found = dict.fromkeys(modules)
    level = list(found)
    while level:
        inside = [
            child
            for module in level
            if (own := module._modules)
            for child in own.values()
            if child is not None
        ]
        level = [child for child in dict.fromkeys(inside) if child not in found]
        found.update(dict.fromkeys(level))
    return found


def tensors_of(
    members: Iterable[tuple[str, torch.nn.Module]],
) -> tuple[list[tuple[str, torch.Tensor]], list[tuple[str, torch.Tensor]]]:
    """The modules' parameters and buffers by name, each once, as ``named_parameters`` and ``named_buffers`` have them.

    torch walks through all modules for each of the two, and hashes tensors, in six times the time.
    """
    kept: tuple[dict[int, tuple[str, torch.Tensor]], ...] = ({}, {})
    for prefix, module in members:
        held: tuple[Mapping[str, torch.Tensor | None], ...] = (module._parameters, module._buffers)
        for by_id, own in zip(kept, held, strict=True):
            if not own:
                continue
            for name, tensor in own.items():
                if tensor is not None and id(tensor) not in by_id:
                    by_id[id(tensor)] = (f"{prefix}.{name}" if prefix else name, tensor)
    return list(kept[0].values()), list(kept[1].values())


def parameters_of(modules: Iterable[torch.nn.Module]) -> list[torch.Tensor]:
    """The modules' parameters without their names; those of several come several times."""
    return [value for each in modules for value in each._parameters.values() if value is not None]


def attribute_of(module: torch.nn.Module, name: str) -> Any:
    """An attribute or submodule, or None; of ``getattr``, which takes ten times as long where there is none."""
    kind = type(module)
    if (
        name in module.__dict__
        or name in module._modules
        or hasattr(kind, name)
        or kind.__getattr__ is not _FINDS
    ):
        return getattr(module, name, None)
    return None


_FINDS = torch.nn.Module.__getattr__


def write_count(tensor: torch.Tensor) -> int:
    """How often a tensor was written to in place; 0 in inference mode, where torch does not count."""
    return 0 if tensor.is_inference() else tensor._version


def saves_more(modules: Sequence[torch.nn.Module]) -> bool:
    """Whether state dicts of all these modules may have more names than their parameters and buffers, each once."""
    plain = torch.nn.Module
    kinds: set[type[torch.nn.Module]] = {type(module) for module in modules}
    for kind in kinds:
        own = kind._save_to_state_dict, kind.get_extra_state, kind.state_dict
        if own != (plain._save_to_state_dict, plain.get_extra_state, plain.state_dict):
            return True
    buffers: list[int] = []
    below: list[torch.nn.Module] = []
    for module in modules:
        held = module.__dict__
        if held["_state_dict_hooks"] or held["_state_dict_pre_hooks"]:
            return True
        if "_save_to_state_dict" in held or "get_extra_state" in held or "state_dict" in held:
            return True
        if held["_buffers"]:
            buffers += [id(buffer) for buffer in module._buffers.values() if buffer is not None]
        if held["_modules"]:
            below += [child for child in module._modules.values() if child is not None]
    if len(set(buffers)) < len(buffers):
        return True
    if len(set(below)) == len(below):
        return False
    twice = [child for child, times in Counter(below).items() if times > 1]
    return any(True for child in twice for _ in child.buffers())


def inner_tensors(tensor: torch.Tensor) -> tuple[list[str], Any] | None:
    """Attributes that hold what a quantized tensor is made of, and its scheme; None for a plain tensor."""
    return tensor.__tensor_flatten__() if hasattr(tensor, "__tensor_flatten__") else None
