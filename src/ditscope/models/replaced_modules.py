"""Whether the transformer and its blocks run what diffusers wrote, found through the wrappers that may be around it.

nnsight, accelerate's offloading and diffusers' hooks each put a forward of their own on a module, and keep the
one they found. What they keep must be the class's own forward, and the class one of diffusers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals import home_of, is_traced, torch_hooks, wrapped_forward

if TYPE_CHECKING:
    from ditscope.models.family import Family
    from ditscope.models.run_state import RunState


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
    for name, module in named_modules(family, transformer):
        written = home_of(type(module).forward)
        if not written.startswith("diffusers."):
            _refuse_forward(name, f"a forward from {written}")
        forward = _wrapped(module)[-1]
        if not _is_own(forward, module):
            _refuse_forward(name, f"a forward from {home_of(forward)} set on the module")


def refuse_replaced_since_opening(run: RunState) -> None:
    """Refuse a transformer, block or module inside it that is not the one nnsight reads, or not all that acts there.

    Raises:
        UnsupportedError: the same as of :func:`refuse_replaced`; or a module is another one than when the model
            was opened, has a forward hook of torch's, or a forward was put back that goes around nnsight's.
    """
    refuse_replaced(run.family, run.pipeline.transformer)
    present = dict(read_modules(run.family, run.pipeline.transformer))
    for name in dict.fromkeys((*present, *run.opened)):
        module, opened = present.get(name), run.opened.get(name)
        if module is not opened:
            change = "added" if opened is None else "taken away" if module is None else "replaced"
            raise UnsupportedError(
                f"{name} {change} since the model was opened, as loading a LoRA does it",
                "the module that is read",
                "Load adapters and wrap modules before the model is opened.",
            )
        if module is not None and module is not run.pipeline.transformer and torch_hooks(module):
            raise UnsupportedError(
                f"a forward hook on {name}, which acts where nothing is read",
                "modules whose values are what goes on in the model",
                "Remove the hook; read and write with dit.visits, block.read and block.write.",
            )
    for name, module in named_modules(run.family, run.pipeline.transformer):
        if not any(map(is_traced, _wrapped(module))):
            _refuse_forward(name, "a forward put back since the model was opened")


def read_modules(family: Family, transformer: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The transformer, its blocks and every module inside them at which something is read, by name."""
    yield from named_modules(family, transformer)
    for layout in family.block_lists:
        for position, block in enumerate(getattr(transformer, layout.path)):
            inner = dict(block.named_modules())
            for path in layout.tapped_modules():
                if path in inner:  # blocks of one list may differ in what they contain
                    yield f"{layout.kind}.{position}.{path}", inner[path]


def named_modules(family: Family, transformer: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The transformer and its blocks in execution order, by the names they have in messages."""
    yield "transformer", transformer
    for layout in family.block_lists:
        for position, block in enumerate(getattr(transformer, layout.path)):
            yield f"{layout.kind}.{position}", block


def _refuse_forward(name: str, forward: str) -> None:
    raise UnsupportedError(
        f"{name} with {forward}, as step caching does it",
        "every block to run in every step, as diffusers wrote it",
        "Load afresh, and leave its forward as it is.",
    )


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
