"""Where a patch takes its values from: what every such source can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ditscope.channels.json_form import JsonForm
from ditscope.errors import EditError

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit
    from ditscope.models.dit import DiT
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["PatchSource"]


@dataclass(frozen=True, eq=False)
class PatchSource(JsonForm, ABC):
    """Gives, for each row of a place in a run, what was at the same place in another run."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What it is, in a word or two."""

    def acts_on(self, sample: tuple[Any, Any]) -> bool:
        """Whether it has values for a sample (prompt, seed) of the run, which else is left as it is."""
        return True

    def check(self, edit: Edit, dit: DiT) -> None:
        """Refuse, before a run, an edit at places that the source does not have, or a model that it is not of."""

    @abstractmethod
    def check_call(self, edit: Edit, dit: DiT, probe: Probe, batches: Batches) -> None:
        """Refuse, before a run, a call whose sizes, steps, branches or samples the source does not have."""

    @abstractmethod
    def values(self, context: EditContext) -> torch.Tensor:
        """The source's values in place of ``context.old``, float32 ``[row, token, channel]``."""


def require_tokens(context: EditContext, real: torch.Tensor, what: str) -> None:
    """Refuse to take what is no token of the source's, or to leave out tokens of it.

    Tokens are taken by their position. Where an edit acts on all tokens of a run, the source has as many.

    Args:
        context: where values are taken to.
        real: which tokens of the source are real, bool ``[row, token]``, on the CPU.
        what: the source, for the message.

    Raises:
        EditError: naming the numbers of tokens.
    """
    own = (
        torch.ones(context.hidden.shape[:2], dtype=torch.bool) if context.real is None else context.real.cpu()
    )
    tokens = context.tokens.cpu()
    there = real.shape[1] > tokens
    needed = own[:, tokens]
    lacking = needed & ~(real[:, tokens.clamp(max=real.shape[1] - 1)] & there)
    counts = own.sum(dim=1), real.sum(dim=1)
    whole = len(tokens) == own.shape[1]
    wrong = lacking.any(dim=1) | (whole & (counts[0] != counts[1]))
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise EditError(
            f"{int(counts[0][row])} real {context.stream} tokens of {context.samples[row][0]!r} in branch "
            f"{context.branch}, and {int(counts[1][row])} of {what}",
            "as many, since tokens are taken by their position",
            "Patch with texts of one length, or name with tokens= those that both have.",
        )
