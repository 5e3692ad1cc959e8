"""Normalisations that go on with the mean and deviation of what an edit changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ditscope.errors import InputError
from ditscope.models.reading_norm import ReadingNorm, reading_norm
from ditscope.vocabulary import BLOCK_ENDS, STREAMS

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.edits.scope import Scope
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT


class FrozenNorms:
    """The normalisations that read what edits with ``freeze_layernorm`` changed, in the visit in progress.

    Args:
        dit: the model.
        edits: scope of each edit, and whether it freezes.
        blocks: indices of the blocks on which each edit acts.

    Raises:
        InputError: another edit, without ``freeze_layernorm``, is of the same hidden state, or of the modulation in
            the block where a normalisation is frozen.
    """

    def __init__(self, dit: DiT, edits: Sequence[tuple[Scope, bool]], blocks: Sequence[set[int]]) -> None:
        self._dit = dit
        self._changed: dict[str, tuple[ReadingNorm, torch.Tensor, torch.Tensor]] = {}
        read: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        modulated: set[int] = set()
        for (scope, freezes), own in zip(edits, blocks, strict=True):
            if scope.site in BLOCK_ENDS:
                read[freezes] |= {(index + (scope.site == "block_output"), scope.stream) for index in own}
            else:
                modulated |= own
        both = sorted(index for index, _ in read[True] & read[False])
        inside = sorted({index for index, _ in read[True]} & modulated)
        if both or inside:
            raise InputError(
                f"freeze_layernorm beside an edit without it that block {(both or inside)[0]} reads or is inside of",
                "edits that all freeze, or none, where one normalisation reads them",
                "Pass freeze_layernorm=True to each of them, or edit other blocks.",
            )

    def take(self, edit: Edit, block: Block, old: torch.Tensor, edited: torch.Tensor) -> None:
        """Note what an edit changed, ``[row, token, channel]`` before and after it."""
        if not edit.freeze_layernorm:
            return
        stream = edit.scope.stream
        norm = reading_norm(self._dit, block, edit.scope.site, stream)
        assert norm is not None, "checked before the run"
        # Of several edits of one hidden state, the first saw it as it was.
        first = self._changed[stream][1] if stream in self._changed else old
        self._changed[stream] = (norm, first.clone(), edited)

    def freeze(self, block: Block | None) -> None:
        """Freeze what normalises the changed streams in a block, or behind the last one for None."""
        here: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}
        norms: dict[str, ReadingNorm] = {}
        for stream in [name for name in STREAMS if name in self._changed]:
            norm, old, edited = self._changed[stream]
            if norm.block is block:
                norms[norm.envoy.path] = norm
                here.setdefault(norm.envoy.path, {})[stream] = (old, edited)
                del self._changed[stream]
        for path, changed in here.items():
            norms[path].frozen(self._dit, changed)
