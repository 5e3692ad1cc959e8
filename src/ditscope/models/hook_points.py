"""Where inside a block a tensor is: the output of a submodule or an argument, and which part of it.

Taps name what a block adds to its residual stream, with which gate, and what modulates its normed stream::

    block_output == block_input + attn_gate * attn_output + mlp_gate * mlp_output + ...
    what attention is passed == (1 + attn_scale) * normed + attn_shift, and the MLP likewise

so that a tap can be tested by what it does, and not by its name. The check of a model tests both equations,
and every tapped tensor against plain hooks: a library update that moves a tensor fails there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ditscope.vocabulary import MODULATION


class HookPoint(NamedTuple):
    """The call of a module inside a block where a hook hangs, on an argument or on the output.

    Attributes:
        module: a submodule of the block; "" for the block itself.
        argument: an argument of it; "" for its output.
        call: number of the module's call within a visit.
        calls: calls of the module in a visit.
    """

    module: str = ""
    argument: str = ""
    call: int = 0
    calls: int = 1


@dataclass(frozen=True)
class Tap:
    """Where a tensor is.

    Attributes:
        module: submodule of the block; the block itself if empty.
        argument: the module's argument that it is; its output if empty.
        item: position in that output, where it is a tuple.
        part: which of the parts along channels, each as wide as the model; for modulation.
        table: parameter ``[part, channel]`` of the block that is added to the part.
        tanh: whether the block takes the hyperbolic tangent of the part.
        joined: whether the streams' tokens come one after another in it.
        planar: whether it is ``[row, channel, y, x]``.
        call: which call of the module it is, of how many in a visit: a block may run a stream after the other
            through one module.
    """

    module: str = ""
    argument: str = ""
    item: int | None = None
    part: int | None = None
    table: str | None = None
    tanh: bool = False
    joined: bool = False
    planar: bool = False
    call: tuple[int, int] = (0, 1)

    @property
    def hook_point(self) -> HookPoint:
        """Where the whole is of which this is a part."""
        return HookPoint(self.module, self.argument, *self.call)


Term = tuple[Tap, Tap | None]
"""What is added to the residual stream, and its gate, if it has one."""


@dataclass(frozen=True)
class Modulated:
    """What scale, and shift if there is one, are applied to: ``passed == (1 + scale) * normed + shift``.

    Attributes:
        normed: the normed stream.
        passed: what attention or the MLP is passed.
    """

    normed: Tap
    passed: Tap


def modulation(
    *,
    sites: tuple[str, ...] = MODULATION,
    first: int = 0,
    stride: int = 1,
    tanh: tuple[str, ...] = (),
    **where: str,
) -> dict[str, Tap]:
    """Taps of modulation whose parts lie in the order of ``sites``.

    Args:
        sites: what the parts are.
        first: number of the first part.
        stride: from one part to the next; 2 where the parts of two streams take turns.
        tanh: sites of which the block takes the hyperbolic tangent.
        **where: where the whole is, as of :class:`Tap`.
    """
    parts = range(first, first + stride * len(sites), stride)
    return {
        site: Tap(part=part, tanh=site in tanh, **where)  # type: ignore[arg-type]
        for part, site in zip(parts, sites, strict=True)
    }
