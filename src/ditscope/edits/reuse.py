"""Put what an earlier step computed in place of what is computed now: what caches of blocks do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT

__all__ = ["Reuse", "reuse"]


class Reuse(Edit):
    """Channels as the last step left them in which the edit did not act."""

    looks_back: ClassVar[bool] = True

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope.steps is None or self.scope.sigmas is not None:
            raise InputError(
                f"reuse in {self.scope}",
                "steps that follow one in which all is computed",
                "Pass steps=, such as steps=[3, 5, 7].",
            )

    @property
    def words(self) -> str:
        """``reuse``."""
        return "reuse"

    def values(self, context: EditContext) -> torch.Tensor:
        """What was here, or would be if the block had added what it added then."""
        assert context.earlier is not None
        return context.earlier[:, context.tokens][:, :, context.channels]

    def first_changed(self, blocks: Sequence[Block]) -> int:
        """There is none where one step alone is run again, as guidance and attribution do.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"the edit '{self.label}' in one step that is run again by itself",
            "a whole run, in which there is an earlier step",
            "Use it in compare or sweep.",
        )

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, what the model or the run does not have, and reuse in the first step."""
        super().check(dit, steps)
        if self.scope.has_step(steps[0], 1.0, steps):
            raise InputError(
                f"the edit '{self.label}' in step {steps[0]}, the first",
                "steps that follow one in which all is computed",
                f"Begin at step {steps[0] + 1}.",
            )


def reuse(channels: Any = None, **where: Unpack[Where]) -> Reuse:
    """Put what an earlier step computed in place of what is computed now, as a cache of blocks does.

    ``steps`` are those that reuse; each takes what the last step before it has that is none of them. At
    ``site="attn_output"`` and ``"mlp_output"`` the output of attention and MLP stays (their gates are computed
    afresh); at ``block_output`` what the block adds to the stream stays, so that the hidden state is what the block
    takes now and what it added then. The numbers are those of a cache; the time that one would save is not saved.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        **where: parts of the scope, ``steps`` among them, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: no ``steps``, ``sigmas``, or an unknown or empty part of the scope. Before a run: the run's first
            step is one of them.

    Examples:
        >>> every_second = ds.edits.reuse(blocks="single.3", steps=[1, 3, 5])
        >>> massive_alone = ds.edits.reuse(massive, blocks="single.3", steps=range(2, 6))
    """
    return Reuse.of(channels, where)
