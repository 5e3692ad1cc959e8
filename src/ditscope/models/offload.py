"""Weights that offloading keeps away from their modules: where they are, and what it leaves behind instead.

Between calls, accelerate's hooks leave parameters on torch's meta device, without values; diffusers' group
offload to disk leaves memory that was never written. Reading a parameter then is an error in the one case,
and quietly wrong in the other.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from safetensors import safe_open


def stored_parameters(network: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The network's parameters by name, each once, with their values from wherever they are kept.

    A parameter whose values are nowhere to be found comes as it is, on the meta device.
    """
    kept = _kept_by_accelerate(network)
    on_disk = _kept_on_disk(network)
    seen: dict[tuple[int, torch.Size], weakref.ref[torch.Tensor]] = {}
    for name, parameter in network.named_parameters():
        if name in kept and parameter.is_meta:
            value = kept[name]()
            # Tied weights are one parameter until they are taken away, and ever after one place in memory.
            # The reference tells it from a place that was let go and taken again, as values read from disk are.
            place = (value.data_ptr(), value.shape)
            if place in seen and seen[place]() is not None:
                continue
            if place[0]:  # a quantized tensor has none of its own
                seen[place] = weakref.ref(value)
            yield name, value
        elif id(parameter) in on_disk:
            yield name, on_disk[id(parameter)]()
        else:
            yield name, parameter


def is_offloaded(module: torch.nn.Module) -> bool:
    """Whether the module's own parameters are kept elsewhere between its calls."""
    return any(True for _ in _offloading_hooks(module)) or _group(module) is not None


def mixed_up_on_disk(networks: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """Pairs of modules whose groups of weights went to one file on disk, or hold one and the same weight.

    diffusers names a file by the place of a group within its network, and leaves a file alone that is there
    already: of two networks in one folder, the second gets the first one's weights. A tied weight is taken
    away with the first of its groups, and what is left of it is saved with the second.
    """
    groups: dict[str | int, tuple[str, Any]] = {}
    for name, module in networks.named_modules():
        group = _group_on_disk(module)
        if group is None:
            continue
        for owned in (group.safetensors_file_path, *map(id, group.tensor_to_key)):
            first, other = groups.setdefault(owned, (name, group))
            if other is not group:
                yield first, name
                break


def _kept_by_accelerate(network: torch.nn.Module) -> dict[str, Callable[[], torch.Tensor]]:
    kept: dict[str, Callable[[], torch.Tensor]] = {}
    for prefix, module in network.named_modules():
        for hook in _offloading_hooks(module):
            for name, _ in module.named_parameters(recurse=hook.place_submodules):
                full_name = f"{prefix}.{name}" if prefix else name
                kept[full_name] = partial(hook.weights_map.__getitem__, name)
    return kept


def _offloading_hooks(module: torch.nn.Module) -> Iterator[Any]:
    hook = module.__dict__.get("_hf_hook")
    for part in getattr(hook, "hooks", (hook,)):  # accelerate wraps several in one
        if getattr(part, "offload", False) and getattr(part, "weights_map", None) is not None:
            yield part


def _kept_on_disk(network: torch.nn.Module) -> dict[int, Callable[[], torch.Tensor]]:
    kept: dict[int, Callable[[], torch.Tensor]] = {}
    for module in network.modules():
        group = _group_on_disk(module)
        if group is not None:
            path = group.safetensors_file_path
            for tensor, key in group.tensor_to_key.items():
                kept[id(tensor)] = partial(_from_file, path, key)
    return kept


def _group(module: torch.nn.Module) -> Any:
    """The group of weights that diffusers' group offload moves with a module, if there is one."""
    registry = module.__dict__.get("_diffusers_hook")
    hook = registry.get_hook("group_offloading") if registry is not None else None
    return None if hook is None else hook.group


def _group_on_disk(module: torch.nn.Module) -> Any:
    group = _group(module)
    return group if getattr(group, "offload_to_disk_path", None) is not None else None


def _from_file(path: str, key: str) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(key)
