"""Every private name of nnsight, diffusers, accelerate and torch that ditscope uses, behind a plain one.

Nothing else may reach such a name: ``tests/models/test__internals.py`` looks each of them up in the installed
versions, so that an upgrade that takes one away fails there and says which.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import FluxPipeline
from nnsight.intervention.eproperty import eproperty
from nnsight.intervention.interleaver import EarlyStopException, Mediator
from nnsight.intervention.source import Controller
from nnsight.modeling.diffusion import DiffusionModel, _PipelineModule

from ditscope.errors import InputError

# nnsight

EarlyStop = EarlyStopException
"""What nnsight stops a run with, after ``tracer.stop()``."""

PipelineModule = _PipelineModule
"""A module whose forward runs a pipeline, and whose children are the pipeline's networks."""


class OpenedPipeline(DiffusionModel):
    """nnsight's model of a pipeline, for which a subclass says what module runs the pipeline."""

    def callable_module(self) -> torch.nn.Module:
        """The module whose forward runs ``self.pipeline``, once that is loaded."""
        raise NotImplementedError

    def _load(self, repo_id: str, *args: Any, automodel: Any = None, **kwargs: Any) -> torch.nn.Module:
        super()._load(repo_id, *args, automodel=automodel, **kwargs)
        return self.callable_module()

    def _batch(self, invokes: list[Any], fn: Any) -> tuple[Any, Any]:
        for inputs, kwargs in invokes:
            prompt = inputs[0] if inputs else kwargs.get("prompt")
            if (
                prompt is not None and kwargs.get("prompt_embeds") is not None
            ):  # nnsight would drop the prompt
                raise InputError(
                    "prompt_embeds beside a prompt", "one of them", "The image would be of the embeddings."
                )
        return super()._batch(invokes, fn)


def torch_hooks(module: torch.nn.Module) -> bool:
    """Whether torch's own forward hooks are on the module; they run outside of what nnsight reads."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def module_of(envoy: Any) -> Any:
    """The module that an envoy stands for."""
    return envoy._module


def served_property(
    key: str, read: Callable[[Any, Any], Any], write_back: Callable[[Any, Any, Any], Any]
) -> Any:
    """A property of an envoy that can be read, assigned, and edited in place by slices.

    Args:
        key: ``input`` or ``output``: what nnsight serves there is called ``raw`` below.
        read: ``(envoy, raw)`` -> what the property gives.
        write_back: ``(envoy, value, raw)`` -> what nnsight goes on with, after an assignment or an edit in place.
    """

    def assign(envoy: Any, value: Any) -> Any:
        return write_back(envoy, value, Mediator.value(f"{envoy.path}.{key}"))

    return eproperty(key=key, description=read.__doc__)(read).transform(write_back).postprocess(assign)


@contextmanager
def of_occurrence(what: str, number: int) -> Iterator[None]:
    """Let what is asked of nnsight be of the ``number``-th call of a module in the run.

    nnsight would serve the next call that comes, and in the first visit always the first.
    """
    worker = Mediator.current(what)
    before = worker.iteration
    worker.iteration = number
    try:
        yield
    finally:
        worker.iteration = before


def is_traced(forward: Any) -> bool:
    """Whether a forward is the one by which nnsight reads its module."""
    return isinstance(forward, Controller)


# diffusers


def compute_device(pipeline: Any) -> torch.device:
    """Where a pipeline computes, which offloading makes another place than where weights are kept."""
    return torch.device(pipeline._execution_device)


def diffusers_hooks(module: torch.nn.Module) -> Mapping[str, Any]:
    """Name -> hook, of diffusers' hooks on a module."""
    registry = module.__dict__.get("_diffusers_hook")
    return registry.hooks if registry is not None else {}


GROUP_OFFLOAD = "group_offloading"

HARMLESS_HOOKS = (
    GROUP_OFFLOAD,
    "layer_execution_tracker",
    "lazy_prefetch_group_offloading",
    "layerwise_casting",
    "peft_autocast_disable",
)
"""Hooks of diffusers that leave every block running in every step. Others cache, skip or repeat blocks."""


def is_group_offloaded(module: torch.nn.Module) -> bool:
    """Whether diffusers' group offload moves the module's weights."""
    return GROUP_OFFLOAD in diffusers_hooks(module)


def disk_group(module: torch.nn.Module) -> tuple[str, Mapping[torch.Tensor, str]] | None:
    """File and keys of the group of weights that group offload keeps on disk for a module, if it does."""
    group: Any = getattr(diffusers_hooks(module).get(GROUP_OFFLOAD), "group", None)
    if getattr(group, "offload_to_disk_path", None) is None:
        return None
    return group.safetensors_file_path, group.tensor_to_key


def pack_latents(latents: torch.Tensor) -> torch.Tensor:
    """FLUX.1's latents ``[row, channel, y, x]`` as tokens ``[row, token, channel]``."""
    return FluxPipeline._pack_latents(latents, *latents.shape)


# accelerate


def accelerate_hooks(module: torch.nn.Module) -> Iterator[Any]:
    """Accelerate's hooks on a module that keep its weights elsewhere: ``weights_map``, ``place_submodules``."""
    hook = module.__dict__.get("_hf_hook")
    parts = getattr(hook, "hooks", (hook,))  # accelerate wraps several in one
    yield from (
        p for p in parts if getattr(p, "offload", False) and getattr(p, "weights_map", None) is not None
    )


# torch


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether ``torch.compile`` or ``module.compile()`` changed what runs."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def move_towards(tensors: list[torch.Tensor], ends: list[torch.Tensor], share: float) -> None:
    """Move every tensor, in place, by a share of its way to its end."""
    torch._foreach_lerp_(tensors, ends, share)


def write_count(tensor: torch.Tensor) -> int:
    """How often a tensor was written to in place; 0 in inference mode, where torch does not count."""
    return 0 if tensor.is_inference() else tensor._version


def inner_tensors(tensor: torch.Tensor) -> tuple[list[str], Any] | None:
    """Attributes that hold what a quantized tensor is made of, and its scheme; None for a plain tensor."""
    return tensor.__tensor_flatten__() if hasattr(tensor, "__tensor_flatten__") else None


# all of them


def wrapped_forward(forward: Any) -> Any:
    """The forward that nnsight's, accelerate's or diffusers' wrapper runs; None if it is none of them."""
    if is_traced(forward):
        return forward.state.original
    # Nothing that a wrapper says of itself counts: it took its name and module over from what it wraps.
    home = home_of(forward)
    if isinstance(forward, functools.partial):
        if home == "accelerate.hooks":
            return forward.__dict__["__wrapped__"]
        if home == "diffusers.hooks.hooks":
            kept = inspect.getclosurevars(forward.func).nonlocals["function_reference"]
            return getattr(kept, "original_forward", None) or kept.forward
    elif inspect.isfunction(forward) and home == "nnsight.intervention.source":
        return inspect.getclosurevars(forward).nonlocals["forward"]
    return None


def home_of(forward: Any) -> str:
    """The module in which the code of a forward is written."""
    if isinstance(forward, functools.partial):
        return home_of(forward.func)
    function = getattr(forward, "__func__", forward)
    return getattr(function, "__globals__", {}).get("__name__") or type(function).__module__
