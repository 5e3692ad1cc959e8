"""Private names of accelerate: its hooks on modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch


def hooked(members: Iterable[tuple[str, torch.nn.Module]]) -> list[tuple[str, torch.nn.Module]]:
    """The modules on which accelerate or diffusers has hooks of its own, or had them."""
    return [
        (name, module)
        for name, module in members
        if "_hf_hook" in module.__dict__ or "_diffusers_hook" in module.__dict__
    ]


def accelerate_hooks(module: torch.nn.Module) -> Iterator[Any]:
    """Accelerate's hooks on a module that keep its weights elsewhere: ``weights_map``, ``place_submodules``."""
    hook = module.__dict__.get("_hf_hook")
    if hook is None:
        return
    parts = getattr(hook, "hooks", (hook,))  # accelerate wraps several in one
    yield from (
        p for p in parts if getattr(p, "offload", False) and getattr(p, "weights_map", None) is not None
    )
