"""Carrying edits out inside a trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit
from ditscope.edits.firings import Firings
from ditscope.edits.tokens import token_positions
from ditscope.errors import EditError
from ditscope.models._internals import write_count
from ditscope.vocabulary import EDITABLE_SITES, STREAMS

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.probe import Probe

__all__ = ["EditedVisit"]


class EditedVisit:
    """What to do at a visit so that edits take effect: pass it to ``run_traced`` as ``at_visit``.

    Args:
        dit: the model.
        edits: what is applied, in this order, each with one draw.
        steps: the steps that the run makes, such as ``range(20)``.
        probe: of the very call, where there is one: then tokens that do not fit are refused before the run.

    Attributes:
        firings: what has fired so far.

    Raises:
        InputError: an edit names what the model or the run does not have.
        UnsupportedError: a block has no such site or stream.
    """

    def __init__(
        self, dit: DiT, edits: Sequence[Edit], steps: Sequence[int], probe: Probe | None = None
    ) -> None:
        for edit in edits:
            edit.check(dit, steps)
            tokens = edit.scope.tokens
            # Texts differ in length between batches and branches; a mask of one length is for some of them.
            stream = edit.scope.stream
            if (
                probe is not None
                and stream in probe.tokens
                and (stream == "image" or isinstance(tokens, tuple))
            ):
                token_positions(tokens, probe.tokens[stream], probe.grid)
        # Where a block passes one stream before the other, so do the edits.
        self._dit, self._steps = dit, steps
        self._edits = tuple(sorted(edits, key=lambda edit: STREAMS.index(edit.scope.stream)))
        self._channels = [
            {block.index: edit.channels[block] for block in edit.chosen(dit.blocks)} for edit in self._edits
        ]
        self.firings = Firings()
        self._fired = [False] * len(self._edits)

    def __call__(self, visit: Visit) -> None:
        """Apply the edits to every block of a visit, in execution order."""
        for block in self._dit.blocks:
            for site in EDITABLE_SITES:
                self.apply(visit, block, site)

    def apply(self, visit: Visit, block: Block, site: str) -> None:
        """Apply the edits that cover one site of one block."""
        for position, edit in enumerate(self._edits):
            ids = self._channels[position].get(block.index)
            if edit.scope.site == site and ids is not None and len(ids):
                branches = edit.scope.branches_at(visit, self._steps)
                if branches:
                    self._fired[position] |= self._apply(edit, visit, branches, block, ids)

    def _apply(
        self, edit: Edit, visit: Visit, branches: Sequence[str], block: Block, ids: np.ndarray
    ) -> bool:
        site, stream = edit.scope.site, edit.scope.stream
        hidden = block.read(site, stream)
        selected = edit.scope.tokens
        # Asking for the grid waits for the device.
        grid = self._dit.run_state.inputs.grid if getattr(selected, "ndim", 0) == 2 else None
        positions = token_positions(selected, hidden.shape[1], grid)
        if not len(positions):
            return False
        tokens, channels = (torch.as_tensor(part, device=hidden.device) for part in (positions, ids))
        edited, samples = hidden.clone(), tuple(self._dit.run_state.samples)
        text_mask = self._dit.run_state.inputs.text_mask if stream == "text" else None
        for branch in branches:
            rows = visit.slice(len(hidden), branch)
            place = (rows, tokens[:, None], channels)
            every = None if text_mask is None else text_mask[rows].to(hidden.device)
            real = None if every is None else every[:, tokens]
            context = EditContext(
                old=hidden[place].float(),
                real=real,
                hidden=hidden[rows] if every is None else hidden[rows].masked_fill(~every[:, :, None], 0),
                visit=visit,
                branch=branch,
                block=block,
                site=site,
                stream=stream,
                samples=samples,
                tokens=tokens,
                channels=channels,
            )
            new = _new_values(edit, context).to(hidden.dtype)
            if real is not None:
                # Padding stays: an image must not depend on how long its neighbours' texts are.
                new = torch.where(real[:, :, None], new, hidden[place])
            edited[place] = new
            self.firings.add(edit, context, new.float())
        block.write(site, stream, edited)
        return True

    def require_fired(self) -> None:
        """Refuse a run in which an edit never took effect.

        Raises:
            EditError: naming the edit.
        """
        for edit, fired in zip(self._edits, self._fired, strict=True):
            if not fired:
                raise EditError(
                    f"the edit '{edit.label}' fired nowhere ({edit.scope})",
                    "at least one block, step, branch and token that it covers",
                    "Widen its scope; without guidance there is no uncond branch.",
                )


def _new_values(edit: Edit, context: EditContext) -> torch.Tensor:
    """The edit's values in the shape of the old ones."""
    before = write_count(context.old)
    values, shape = edit.values(context), context.old.shape
    if write_count(context.old) != before:
        raise EditError(
            f"context.old written to by the edit '{edit.label}'",
            "old values left alone, since the energies are counted from them",
            "Compute new values instead, as old * 2 and not old.mul_(2).",
        )
    try:
        return values.expand(shape)
    except (AttributeError, RuntimeError) as error:
        raise EditError(
            f"{type(values).__name__} of shape {tuple(getattr(values, 'shape', ()))} from the edit '{edit.label}'",
            f"a tensor that broadcasts to [row, token, channel], here {tuple(shape)}",
            "Return one value for each of context.old, or a smaller tensor that broadcasts.",
        ) from error
