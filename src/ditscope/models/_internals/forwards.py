"""A module's forward, and what nnsight, accelerate and diffusers put around it."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, MethodType
from typing import Any

import torch
from nnsight.intervention.source import Controller

FOUND_FORWARD = "__ditscope_found__"
"""Where a module keeps what was in the place of nnsight's forward before it was opened: None for its class's own."""

ASIDE = "__ditscope_aside__"
"""Where a module keeps nnsight's forward while nothing is asked of nnsight there."""


def is_traced(forward: Any) -> bool:
    """Whether a forward is the one by which nnsight reads its module."""
    return isinstance(forward, Controller)


def is_aside(module: torch.nn.Module) -> bool:
    """Whether nnsight's forward is put aside, where nothing is read in a run."""
    return ASIDE in module.__dict__


def runs_own_forward(module: torch.nn.Module) -> bool:
    """Whether a module runs its class's forward, with nothing around it but nnsight's; told without a search."""
    forward, written = module.__dict__.get("forward"), type(module).forward
    if forward is None:
        return isinstance(written, FunctionType)
    original = forward.state.original if type(forward) is Controller else forward
    return original is written or (
        type(original) is MethodType and original.__func__ is written and original.__self__ is module
    )


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
            kept = _kept_by_diffusers(forward)
            return kept.original_forward or kept.forward
    elif inspect.isfunction(forward) and home == "nnsight.intervention.source":
        return inspect.getclosurevars(forward).nonlocals["forward"]
    return None


def home_of(forward: Any) -> str:
    """The module in which the code of a forward is written."""
    if isinstance(forward, functools.partial):
        return home_of(forward.func)
    function = getattr(forward, "__func__", forward)
    return getattr(function, "__globals__", {}).get("__name__") or type(function).__module__


def down_to_traced(module: torch.nn.Module) -> list[Any]:
    """The module's forward and what it wraps, from the outside in, down to nnsight's or to what is no wrapper."""
    chain = [module.forward]
    while not is_traced(chain[-1]) and (inner := wrapped_forward(chain[-1])) is not None:
        chain.append(inner)
    return chain


def rewrap(module: torch.nn.Module, wrapper: Any, forward: Any) -> None:
    """Let a wrapper of accelerate's or diffusers' on a module wrap another forward."""
    for name in ("module_ref", "state"):  # taken over from nnsight's
        wrapper.__dict__.pop(name, None)
    wrapper.__dict__["__wrapped__"] = forward
    if home_of(wrapper) == "accelerate.hooks":
        module.__dict__["_old_forward"] = forward
    else:
        kept = _kept_by_diffusers(wrapper)
        name = "forward" if kept.original_forward is None else "original_forward"
        setattr(kept, name, forward)


def _kept_by_diffusers(wrapper: Any) -> Any:
    """What a wrapper of diffusers' hooks calls: ``forward``, and ``original_forward`` if that is the hook's own."""
    return inspect.getclosurevars(wrapper.func).nonlocals["function_reference"]


def put_aside(module: torch.nn.Module) -> None:
    """Let a module run its class's forward, if nnsight's is in its place with nothing around or inside it."""
    own = module.__dict__
    forward: Any = own.get("forward")
    plain = is_traced(forward) and forward.state.body is forward.state.original
    if plain and "_hf_hook" not in own and own.get(FOUND_FORWARD, forward) is None:
        own[ASIDE] = own.pop("forward")


def put_back(module: torch.nn.Module) -> None:
    """Let nnsight's forward run again, inside what has been put around the class's meanwhile."""
    own = module.__dict__
    if (forward := own.pop(ASIDE, None)) is None:
        return
    if "forward" not in own:
        own["forward"] = forward
    elif wrappers := down_to_traced(module)[:-1]:
        rewrap(module, wrappers[-1], forward)
