"""A small network, and what is around a forward."""

from __future__ import annotations

import torch

from ditscope.models._internals.forwards import wrapped_forward


class Doubling(torch.nn.Module):
    """A network of a size that hooks can be tried on."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.inner(x)


def unwrapped(module: torch.nn.Module) -> list:
    """The forward and what it wraps, from the outside in."""
    chain = [module.forward]
    while (inner := wrapped_forward(chain[-1])) is not None:
        chain.append(inner)
    return chain
