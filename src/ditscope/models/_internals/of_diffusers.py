"""Private names of diffusers: where a pipeline computes, its hooks on modules, and its groups of offloaded weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from ditscope.models._internals.of_torch import modules_in


def compute_device(pipeline: Any) -> torch.device:
    """Where a pipeline computes, which offloading makes another place than where weights are kept."""
    # diffusers looks for hooks module by module, in 2 ms for the embedded pipeline, which several ask for in a run.
    parts = [each for each in pipeline.components.values() if isinstance(each, torch.nn.Module)]
    # A run leaves an empty registry of hooks on the transformer.
    if any("_hf_hook" in vars(each) or diffusers_hooks(each) for each in modules_in(parts)):
        return torch.device(pipeline._execution_device)
    # Then it is where the first tensor of one of the networks is: diffusers says of which, in four times the time.
    devices = {next(chain(each.parameters(), each.buffers()), torch.empty(0)).device for each in parts}
    return devices.pop() if len(devices) == 1 else torch.device(pipeline.device)


def optional_components(pipeline_class: Any) -> list[str]:
    """Parts that a pipeline of a class may be without."""
    return pipeline_class._optional_components


def diffusers_hooks(module: torch.nn.Module) -> Mapping[str, Any]:
    """Name -> hook, of diffusers' hooks on a module."""
    registry = module.__dict__.get("_diffusers_hook")
    return registry.hooks if registry is not None else {}


GROUP_OFFLOAD = "group_offloading"

OFFLOADING_HOOKS = (GROUP_OFFLOAD, "layer_execution_tracker", "lazy_prefetch_group_offloading")
"""Hooks of diffusers that move weights and change no number."""

WEIGHT_HOOKS = (*OFFLOADING_HOOKS, "layerwise_casting")
"""Hooks of diffusers after which a module's weights are not what they were when it ran."""

HARMLESS_HOOKS = (*WEIGHT_HOOKS, "peft_autocast_disable")
"""Hooks of diffusers that leave every block running in every step. Others cache, skip or repeat blocks."""


def attention_backend() -> str:
    """The attention that diffusers runs where a module asks for none."""
    return str(_AttentionBackendRegistry._active_backend.value)


def disk_group(module: torch.nn.Module) -> tuple[str, Mapping[torch.Tensor, str]] | None:
    """File and keys of the group of weights that group offload keeps on disk for a module, if it does."""
    group: Any = getattr(diffusers_hooks(module).get(GROUP_OFFLOAD), "group", None)
    if getattr(group, "offload_to_disk_path", None) is None:
        return None
    return group.safetensors_file_path, group.tensor_to_key


def prefetches(module: torch.nn.Module) -> bool:
    """Whether group offload fetches a module's weights ahead, in the order in which modules ran before."""
    group: Any = getattr(diffusers_hooks(module).get(GROUP_OFFLOAD), "group", None)
    return getattr(group, "stream", None) is not None
