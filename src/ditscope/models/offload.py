"""Weights that offloading keeps away from their modules: where they are, and what it leaves behind instead.

Between calls, accelerate's hooks leave parameters on torch's meta device, without values; diffusers' group
offload to disk leaves memory that was never written. Reading a parameter then is an error in the one case,
and quietly wrong in the other.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from safetensors import safe_open

from ditscope.models._internals.of_accelerate import accelerate_hooks, hooked
from ditscope.models._internals.of_diffusers import disk_group
from ditscope.models._internals.of_torch import members_of, tensors_of

Members = Sequence[tuple[str, torch.nn.Module]]
"""Modules by name."""


def stored_tensors(modules: Members) -> Iterator[tuple[str, torch.Tensor]]:
    """The modules' parameters and buffers by name, each once, with their values from wherever they are kept.

    One whose values are nowhere to be found comes as it is, on the meta device.
    """
    offloaded = hooked(modules)
    kept, on_disk = _kept_by_accelerate(offloaded), _kept_on_disk(offloaded)
    seen: dict[tuple[int, torch.Size], weakref.ref[torch.Tensor]] = {}
    for name, tensor in chain(*tensors_of(modules)):
        if name in kept and tensor.is_meta:
            value = kept[name]()
            # Tied weights are one parameter until they are taken away, and ever after one place in memory.
            # The reference tells it from a place that was let go and taken again, as values read from disk are.
            memory = (value.data_ptr(), value.shape)
            if memory in seen and seen[memory]() is not None:
                continue
            if memory[0]:  # a quantized tensor has none of its own
                seen[memory] = weakref.ref(value)
            yield name, value
        elif id(tensor) in on_disk:
            yield name, on_disk[id(tensor)]()
        else:
            yield name, tensor


def networks(pipeline: Any) -> torch.nn.ModuleDict:
    """A pipeline's networks by the name of the component: transformer, vae, text encoders."""
    components = pipeline.components.items()
    return torch.nn.ModuleDict({n: c for n, c in components if isinstance(c, torch.nn.Module)})


def members_by_network(pipeline: Any) -> dict[str, Members]:
    """A pipeline's networks by the name of the component, each with its modules: walked once for all that asks."""
    return {name: members_of(network) for name, network in networks(pipeline).items()}


def in_pipeline(networks: Mapping[str, Members]) -> Members:
    """The modules of all networks by the names that they have in the pipeline."""
    return [
        (f"{network}.{name}" if name else network, module)
        for network, members in networks.items()
        for name, module in members
    ]


def mixed_up_on_disk(modules: Members) -> Iterator[tuple[str, str]]:
    """Pairs of modules whose groups of weights went to one file on disk, or have one and the same weight.

    diffusers names a file by the place of a group within its network, and leaves a file alone that is there
    already: of two networks in one folder, the second gets the first one's weights. A tied weight is taken
    away with the first of its groups, and what is left of it is saved with the second.
    """
    owners: dict[str | int, tuple[str, Mapping[torch.Tensor, str]]] = {}
    for name, module in hooked(modules):
        group = disk_group(module)
        if group is None:
            continue
        path, keys = group
        owned_by_group: tuple[str | int, ...] = (path, *map(id, keys))
        for owned in owned_by_group:
            first, others = owners.setdefault(owned, (name, keys))
            if others is not keys:
                yield first, name
                break


def _kept_by_accelerate(modules: Members) -> dict[str, Callable[[], torch.Tensor]]:
    kept: dict[str, Callable[[], torch.Tensor]] = {}
    for prefix, module in modules:
        for hook in accelerate_hooks(module):
            placed = members_of(module) if hook.place_submodules else [("", module)]
            for name, _ in chain(*tensors_of(placed)):
                full_name = f"{prefix}.{name}" if prefix else name
                kept[full_name] = partial(hook.weights_map.__getitem__, name)
    return kept


def _kept_on_disk(modules: Members) -> dict[int, Callable[[], torch.Tensor]]:
    return {
        id(tensor): partial(_from_file, path, key)
        for path, keys in filter(None, (disk_group(module) for _, module in modules))
        for tensor, key in keys.items()
    }


def _from_file(path: str, key: str) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(key)
