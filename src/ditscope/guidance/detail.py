"""Detail Guidance: away from what the model makes when massive channels are disrupted in one block."""

from __future__ import annotations

from typing import Any, Unpack

from ditscope.checks import Address
from ditscope.edits.edit import Where
from ditscope.edits.scale import scale
from ditscope.edits.zero import zero
from ditscope.guidance.from_edits import Guidance, from_edits

__all__ = ["detail"]


def detail(channels: Any, w: float, block: Address, *, rho: Any = None, **where: Unpack[Where]) -> Guidance:
    """Detail Guidance (Gan et al., arXiv 2510.11538): D(c) + w (D(c) - D_m(c)), alone or beside a prompt's guidance.

    D_m is the same network with massive channels of one block's image tokens disrupted, and what follows from that in
    the blocks behind it. Those before it are shared with D: of K blocks, with block m of them the m-th, only K - m are
    run again (Gan et al., arXiv 2607.02968). The paper says neither w, block nor steps; they have no default here, but
    for all steps.

    Args:
        channels: a ChannelSet, or channel ids for every block: the massive channels.
        w: weight of the difference.
        block: the block at whose output they are disrupted, by index or name.
        rho: what they are multiplied by, as of :func:`ditscope.edits.scale`; left out, they are set to zero.
        **where: other parts of the edit's scope, such as ``steps`` or ``sigmas``; as for :func:`ditscope.edits.zero`.

    Raises:
        InputError: ``w`` or ``rho`` is no finite number, or an unknown or empty part of the scope.

    Examples:
        >>> detail = ds.guidance.detail(massive, w=2.0, block="double.2")
        >>> result = ds.compare(dit, prompts[0], 0, {"detail": detail}, ["psnr"], num_inference_steps=2)
    """
    scope: Where = {**where, "blocks": block}
    return from_edits(zero(channels, **scope) if rho is None else scale(channels, rho, **scope), w)
