"""Where inside a block a tensor is: the output of a submodule or an argument, and which part of it.

Taps name what a block adds to its residual stream, and with which gate::

    block_output == block_input + attn_gate * attn_output + mlp_gate * mlp_output + ...

so that a tap can be tested by what it does, and not by its name. A check of a model does that test;
a library update that moves a tensor then fails loudly.
"""

from __future__ import annotations

from dataclasses import dataclass

MODULATION: tuple[str, ...] = (
    "attn_shift",
    "attn_scale",
    "attn_gate",
    "mlp_shift",
    "mlp_scale",
    "mlp_gate",
)
"""AdaLN modulation of attention and MLP, ``[row, 1, channel]``, as in force at the block."""


@dataclass(frozen=True)
class Tap:
    """Where a tensor is.

    Attributes:
        module: submodule of the block whose output it is.
        argument: argument of the block that it is, if ``module`` is empty.
        item: position in that output, where it is a tuple.
        part: which of the parts along channels, each as wide as the model; for modulation.
        table: parameter ``[part, channel]`` of the block that is added to the part.
        joined: whether the streams' tokens come one after another in it.
        planar: whether it is ``[row, channel, y, x]``.
    """

    module: str = ""
    argument: str = ""
    item: int | None = None
    part: int | None = None
    table: str | None = None
    joined: bool = False
    planar: bool = False


Term = tuple[Tap, Tap | None]
"""What is added to the residual stream, and its gate, if it has one."""


def modulation(*, sites: tuple[str, ...] = MODULATION, **where: str) -> dict[str, Tap]:
    """Taps of modulation whose parts lie side by side in the order of ``sites``."""
    return {site: Tap(part=part, **where) for part, site in enumerate(sites)}  # type: ignore[arg-type]
