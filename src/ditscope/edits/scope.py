"""Where an edit acts: blocks, steps, branches and tokens of one stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ditscope.checks import Address, block_addresses, find_blocks
from ditscope.errors import InputError, unknown_name
from ditscope.vocabulary import BRANCHES, EDITABLE_SITES, STREAMS

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.visits import Visit


@dataclass(frozen=True, eq=False)
class Scope:
    """Where an edit acts; None means everywhere.

    Attributes:
        blocks: block indices, negative ones counting from the last, block names such as ``single.5``, or
            kinds such as ``single`` for all blocks of a kind.
        steps: step indices; negative ones count from the last step.
        branches: ``cond``, ``uncond``.
        stream: ``image`` or ``text``.
        site: one of ``ditscope.models.sites.SITES``.
        tokens: bool mask ``[token]`` or ``[y, x]``, or token positions.

    Raises:
        InputError: a name that does not exist, an empty selection, or tokens that are neither a mask nor
            positions.
    """

    blocks: tuple[Address, ...] | None = None
    steps: tuple[int, ...] | None = None
    branches: tuple[str, ...] | None = None
    stream: str = "image"
    site: str = "block_output"
    tokens: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise unknown_name("stream", self.stream, STREAMS)
        if self.site not in EDITABLE_SITES:
            raise unknown_name("site", self.site, EDITABLE_SITES)
        if self.blocks is not None:
            object.__setattr__(self, "blocks", block_addresses(self.blocks))
        for name, kinds, expected in (
            ("steps", (int, np.integer), "step indices"),
            ("branches", (str,), "branch names"),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            entries = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
            if not entries:
                raise InputError(f"no {name}", f"some {name}, or None for all", f"Leave {name}= out.")
            wrong = [entry for entry in entries if not isinstance(entry, kinds) or isinstance(entry, bool)]
            if wrong:
                raise InputError(f"{name} {wrong!r} in an edit's scope", expected, f"Mend {name}=.")
            object.__setattr__(self, name, entries)
        for branch in self.branches or ():
            if branch not in BRANCHES:
                raise unknown_name("branch", branch, BRANCHES)
        if self.tokens is not None:
            object.__setattr__(self, "tokens", _flat_tokens(self.tokens))

    def chosen(self, blocks: Sequence[Block]) -> tuple[int, ...]:
        """Indices of the blocks on which the edit acts, of a model's blocks.

        Raises:
            InputError: the scope names a block that the model does not have.
        """
        return tuple(block.index for block in find_blocks(blocks, self.blocks))

    def covers(self, visit: Visit, n_steps: int) -> bool:
        """Whether the edit acts in this visit of a run of ``n_steps`` steps."""
        if self.steps is not None and visit.step not in {step % n_steps for step in self.steps}:
            return False
        return bool(self.branches_of(visit))

    def branches_of(self, visit: Visit) -> tuple[str, ...]:
        """The branches of a visit on which the edit acts."""
        return tuple(b for b in visit.branches if self.branches is None or b in self.branches)

    def positions(self, n_tokens: int, device: torch.device) -> torch.Tensor | None:
        """Token positions int64 ``[token]`` that are edited, or None for all.

        Raises:
            InputError: the mask or the positions do not fit ``n_tokens``.
        """
        if self.tokens is None:
            return None
        tokens = self.tokens
        fits = len(tokens) == n_tokens if tokens.dtype == bool else (np.abs(tokens) < n_tokens).all()
        if not fits:
            raise InputError(
                f"a token selection of {len(tokens)} entries ({tokens.dtype})",
                f"a mask of {n_tokens} tokens, or positions under {n_tokens}",
                "Take the mask at the run's own height and width.",
            )
        chosen = np.flatnonzero(tokens) if tokens.dtype == bool else tokens % n_tokens
        return torch.as_tensor(chosen, dtype=torch.int64, device=device)

    def check_against(self, blocks: Sequence[Block], n_steps: int) -> None:
        """Refuse a scope that names a block or step that the run does not have.

        Raises:
            InputError: naming it.
        """
        self.chosen(blocks)
        for step in self.steps or ():
            if not -n_steps <= step < n_steps:
                raise InputError(
                    f"step {step} in an edit's scope", f"a step of {n_steps}", "Count steps from 0."
                )


def _flat_tokens(tokens: Any) -> np.ndarray:
    """A bool mask ``[token]`` or int positions ``[token]``, each once."""
    flat = np.asarray(tokens).reshape(-1)
    mask, positions = flat.dtype == bool, np.issubdtype(flat.dtype, np.integer)
    # A mask of 0 and 1 would otherwise pass for the positions 0 and 1.
    different = len(set(flat.tolist()))
    if not (mask or positions) or not different or (positions and different < len(flat)):
        raise InputError(
            f"{len(flat)} tokens of dtype {flat.dtype}, {different} of them different",
            "a bool mask, or different whole-number positions",
            "Turn a mask of 0 and 1 into bool with mask.astype(bool).",
        )
    return flat
