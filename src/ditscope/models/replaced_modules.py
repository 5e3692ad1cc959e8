"""Whether the transformer and its blocks run what diffusers wrote, and nnsight reads all that acts there.

nnsight, accelerate's offloading and diffusers' hooks each put a forward of their own on a module, and keep the
one they found. What they keep must be the class's own forward, and the class one of diffusers. Modules inside the
blocks may be of any class, as those of a LoRA are: what is read there is what leaves them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals.forwards import (
    home_of,
    is_aside,
    is_traced,
    runs_own_forward,
    wrapped_forward,
)
from ditscope.models._internals.of_torch import children_of, torch_hooks

if TYPE_CHECKING:
    from ditscope.models.family import Family
    from ditscope.models.run_state import RunState


def refuse_replaced(family: Family, transformer: torch.nn.Module) -> None:
    """Refuse a transformer or block that does not run as diffusers wrote it.

    Raises:
        UnsupportedError: the transformer or a block is of another class than the family's, or a forward is not that
            of the class or not diffusers' own.
    """
    for layout in family.block_lists:
        if not hasattr(transformer, layout.path):
            raise UnsupportedError(
                f"a {type(transformer).__name__} without {layout.path} as transformer",
                f"a {family.transformer_class}",
                "Put the transformer back, or load afresh.",
            )
        for position, block in enumerate(getattr(transformer, layout.path)):
            if type(block).__name__ != layout.block_class:
                raise UnsupportedError(
                    f"block {layout.kind}.{position} replaced by a {type(block).__name__}",
                    f"a {layout.block_class}",
                    "Put the block back, or load afresh.",
                )
    for name, module in named_modules(family, transformer):
        written = home_of(type(module).forward)
        if not written.startswith("diffusers."):
            _refuse_forward(name, f"a forward from {written}")
        if (forward := foreign_forward(module)) is not None:
            _refuse_forward(name, f"a forward from {home_of(forward)} set on the module")


def refuse_unread(run: RunState, modules: Mapping[str, torch.nn.Module]) -> None:
    """Refuse a transformer, block or module inside it at which something acts that is not read.

    Args:
        run: the model's state.
        modules: those of :func:`read_modules`.

    Raises:
        UnsupportedError: the same as of :func:`refuse_replaced`; or a module has a forward hook of torch's, lacks
            one that is read inside it, is in two places, or a forward was put back that goes around nnsight's.
    """
    transformer = run.pipeline.transformer
    refuse_replaced(run.family, transformer)
    places: dict[torch.nn.Module, str] = {}
    for name, module in modules.items():
        if places.setdefault(module, name) != name:
            raise UnsupportedError(
                f"one module as {places[module]} and {name}",
                "a module for each place, whose calls can be told apart",
                "Put a copy in one of the places.",
            )
        before, after = torch_hooks(module)
        # What the transformer is passed is read after the hooks on it.
        if after or (before and module is not transformer):
            raise UnsupportedError(
                f"a forward hook on {name}, which acts where nothing is read",
                "modules whose values are what goes on in the model",
                "Remove the hook; read and write with dit.visits, block.read and block.write.",
            )
        if not (is_aside(module) or is_traced(module.forward) or any(map(is_traced, _wrapped(module)))):
            _refuse_forward(name, "a forward put back since the model was opened")


def refuse_changed(
    modules: Mapping[str, torch.nn.Module], family: Family, transformer: torch.nn.Module
) -> None:
    """Refuse a run in which modules that are read were replaced, as by a callback that loads a LoRA.

    Args:
        modules: those of :func:`read_modules` before the run.
        family: what is known of the transformer.
        transformer: the transformer after the run.

    Raises:
        UnsupportedError: there are others now.
    """
    present = dict(read_modules(family, transformer))
    for name in dict.fromkeys((*modules, *present)):
        if modules.get(name) is not present.get(name):
            raise UnsupportedError(
                f"{name} replaced while the run was read",
                "the same modules from its first visit to its last",
                "Load, unload and wrap between runs.",
            )


def read_modules(family: Family, transformer: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The transformer, its blocks and every module inside them at which something is read, or that is around one.

    Raises:
        UnsupportedError: a module is there, and one that is read inside it is not.
    """
    yield from named_modules(family, transformer)
    for layout in family.block_lists:
        paths = dict.fromkeys(each for path in layout.tapped_modules() for each in _prefixes(path))
        for position, block in enumerate(getattr(transformer, layout.path, ())):
            inside: dict[str, torch.nn.Module] = {"": block}
            for path in paths:  # a module comes behind those around it
                name, (outer, _, own) = f"{layout.kind}.{position}.{path}", path.rpartition(".")
                module = children_of(inside[outer]).get(own) if outer in inside else None
                if module is not None:
                    inside[path] = module
                    yield name, module
                elif outer in inside and outer:  # blocks of one list may differ in what they contain
                    raise UnsupportedError(
                        f"{name} missing in a {type(inside[outer]).__name__}",
                        "the module that is read there",
                        "Put back what was replaced, or let what replaces it have the modules that it had.",
                    )


def _prefixes(path: str) -> list[str]:
    """A path and those of the modules around it, from the outside in."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def named_modules(family: Family, transformer: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The transformer and its blocks in execution order, by the names they have in messages."""
    yield "transformer", transformer
    for layout in family.block_lists:
        for position, block in enumerate(getattr(transformer, layout.path, ())):
            yield f"{layout.kind}.{position}", block


def _refuse_forward(name: str, forward: str) -> None:
    raise UnsupportedError(
        f"{name} with {forward}, as step caching does it",
        "every block to run in every step, as diffusers wrote it",
        "Load afresh, and leave its forward as it is.",
    )


def foreign_forward(module: torch.nn.Module) -> Any:
    """The forward that runs inside the known wrappers, if it is not that of the module's class; else None."""
    if runs_own_forward(module):
        return None
    forward = _wrapped(module)[-1]
    return None if _is_own(forward, module) else forward


def _wrapped(module: torch.nn.Module) -> list[Any]:
    """The module's forward, and what it wraps, from the outside in, as far as the wrappers are known."""
    chain = [module.forward]
    while (inner := wrapped_forward(chain[-1])) is not None:
        chain.append(inner)
    return chain


def _is_own(forward: Any, module: torch.nn.Module) -> bool:
    own: Callable[..., Any] = type(module).forward
    return forward is own or (
        inspect.ismethod(forward) and forward.__func__ is own and forward.__self__ is module
    )
