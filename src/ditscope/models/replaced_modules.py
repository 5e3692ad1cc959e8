"""Whether the transformer and its blocks run what diffusers wrote, found through the wrappers that may be around it.

nnsight, accelerate's offloading and diffusers' hooks each put a forward of their own on a module, and keep the
one they found. What they keep must be the class's own forward, and the class one of diffusers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from nnsight.intervention.source import Controller

from ditscope.errors import UnsupportedError

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.family import Family


def refuse_replaced(family: Family, transformer: torch.nn.Module) -> None:
    """Refuse a transformer or block that does not run as diffusers wrote it.

    Raises:
        UnsupportedError: a block is of another class than the family's, or a forward is not that of the class or
            not diffusers' own.
    """
    for layout in family.block_lists:
        for position, block in enumerate(getattr(transformer, layout.path)):
            if type(block).__name__ != layout.block_class:
                raise UnsupportedError(
                    f"block {layout.kind}.{position} replaced by a {type(block).__name__}",
                    f"a {layout.block_class}",
                    "Put the block back, or load afresh.",
                )
    for name, module in named(family, transformer):
        written = _home(type(module).forward)
        if not written.startswith("diffusers."):
            _refuse_forward(name, f"a forward from {written}")
        forward = _wrapped(module)[-1]
        if not _is_own(forward, module):
            _refuse_forward(name, f"a forward from {_home(forward)} set on the module")


def refuse_replaced_since_opening(dit: DiT) -> None:
    """Refuse a transformer or block that is not the one nnsight reads, or that no longer goes through it.

    Raises:
        UnsupportedError: the same as of :func:`refuse_replaced`; or a module is another one than when the model
            was opened, or a forward was put back that goes around nnsight's.
    """
    transformer = dit.diffusers_pipeline.transformer
    refuse_replaced(dit.family, transformer)
    opened = (dit.transformer._module, *(block._module for block in dit.blocks))
    present = list(named(dit.family, transformer))
    if len(present) != len(opened):
        raise UnsupportedError(
            f"{len(present) - 1} blocks", f"the {len(opened) - 1} of when the model was opened", _AFRESH
        )
    for (name, module), known in zip(present, opened, strict=True):
        if module is not known:
            raise UnsupportedError(
                f"{name} replaced since the model was opened", "the module that is read", _AFRESH
            )
        if not any(isinstance(forward, Controller) for forward in _wrapped(module)):
            _refuse_forward(name, "a forward put back since the model was opened")


def named(family: Family, transformer: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The transformer and its blocks in execution order, by the names they have in messages."""
    yield "transformer", transformer
    for layout in family.block_lists:
        for position, block in enumerate(getattr(transformer, layout.path)):
            yield f"{layout.kind}.{position}", block


_AFRESH = "Load afresh, and change the transformer before it is opened if at all."


def _refuse_forward(name: str, found: str) -> None:
    raise UnsupportedError(
        f"{name} with {found}, as step caching does it",
        "every block to run in every step, as diffusers wrote it",
        "Load afresh, and leave its forward as it is.",
    )


def _wrapped(module: torch.nn.Module) -> list[Any]:
    """The module's forward, and what it wraps, from the outside in, as far as the wrappers are known."""
    chain = [module.forward]
    while (inner := _inside(chain[-1])) is not None:
        chain.append(inner)
    return chain


def _inside(forward: Any) -> Any:
    if isinstance(forward, Controller):
        return forward.state.original
    if isinstance(forward, functools.partial):
        # Nothing that the wrapper says of itself counts: it took its name and module over from what it wraps.
        home = _home(forward.func)
        if home == "accelerate.hooks":
            return forward.__dict__["__wrapped__"]
        if home == "diffusers.hooks.hooks":
            kept = inspect.getclosurevars(forward.func).nonlocals["function_reference"]
            return getattr(kept, "original_forward", None) or kept.forward
    elif inspect.isfunction(forward) and _home(forward) == "nnsight.intervention.source":
        return inspect.getclosurevars(forward).nonlocals["forward"]
    return None


def _is_own(forward: Any, module: torch.nn.Module) -> bool:
    own: Callable[..., Any] = type(module).forward
    return forward is own or (
        inspect.ismethod(forward) and forward.__func__ is own and forward.__self__ is module
    )


def _home(forward: Any) -> str:
    """The module in which the code of a forward is written."""
    if isinstance(forward, functools.partial):
        return _home(forward.func)
    function = getattr(forward, "__func__", forward)
    return getattr(function, "__globals__", {}).get("__name__") or type(function).__module__
