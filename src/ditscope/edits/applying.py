"""Carrying edits out inside a trace."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ditscope.channels.channel_set import PADDING, ChannelSet
from ditscope.edits.acting_channels import ActingChannels, acting_channels
from ditscope.edits.context import EditContext
from ditscope.edits.earlier import Earlier
from ditscope.edits.edit import Edit
from ditscope.edits.firings import Firings
from ditscope.edits.frozen_norms import FrozenNorms
from ditscope.edits.live_channels import narrowed
from ditscope.edits.own_sample import own_sample
from ditscope.edits.tokens import Tokens, differs_by_sample, has_grid, token_mask, token_positions, tokens_at
from ditscope.errors import EditError
from ditscope.models._internals.of_torch import write_count
from ditscope.vocabulary import SITES, passing_order

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["EditedVisit"]


class EditedVisit:
    """What to do at a visit so that edits take effect: pass it to ``run_traced`` as ``at_visit``.

    Edits of one place are applied one after the other, in the order given: each sees what the one before it left.

    Args:
        dit: the model.
        edits: what is applied, in this order, each with one draw.
        steps: the steps that the run makes, such as ``range(20)``.
        positions: of the batch's samples among all samples of the run; counted from 0 by default.
        samples: (prompt, seed) of each; what the call tells by default.

    Attributes:
        firings: what has fired so far.

    Raises:
        InputError: an edit names what the model or the run does not have; or edits with and without
            ``freeze_layernorm``, or of modulation, meet at one normalisation.
        UnsupportedError: a block has no such site or stream.
    """

    def __init__(
        self,
        dit: DiT,
        edits: Sequence[Edit],
        steps: Sequence[int],
        positions: Sequence[int] | None = None,
        samples: Sequence[tuple[Any, Any]] | None = None,
    ) -> None:
        for edit in edits:
            edit.check(dit, steps)
        self._dit, self._steps, self._positions, self._samples = dit, steps, positions, samples
        self._edits = tuple(edits)
        self._blocks = [{block.index for block in edit.chosen(dit.blocks)} for edit in edits]
        # In the order in which the model passes them; where a block passes one stream first, so do the edits.
        self._places = passing_order(
            {site for e in edits for site in e.read_sites}, {e.scope.stream for e in edits}
        )
        self._channels: dict[tuple[int, int, int], ActingChannels] = {}
        self._norms = FrozenNorms(dit, [(e.scope, e.freeze_layernorm) for e in edits], self._blocks)
        self._looking = {at: edit for at, edit in enumerate(edits) if type(edit).look is not Edit.look}
        self._looked_at: tuple[int, int, str] | None = None
        self._looked: dict[int, torch.Tensor | None] = {}
        self._earlier = Earlier()
        self.firings = Firings()
        self._fired = [False] * len(self._edits)

    def check(self, probe: Probe, batches: Batches = ()) -> None:
        """Refuse, before a run, what can never fire in a probed call, and what does not fit it or one of its samples.

        Args:
            probe: of the very call.
            batches: (prompt, seed) of the samples of all batches of the run, where they are known.

        Raises:
            EditError: an edit can never fire.
            InputError: tokens, a source or values that do not fit, or that lack a sample.
        """
        for edit in self._edits:
            edit.check_call(self._dit, probe, batches)
            _require_fitting(edit, self._dit, probe, batches)

    def __call__(self, visit: Visit) -> None:
        """Apply the edits to every block of a visit, in execution order."""
        first = [place for place in self._places if place[0] == "block_input"]
        for block in self._dit.blocks:
            for place in first:
                self.apply_at(visit, block, *place)
            self._norms.freeze(block)
            for site, stream in self._places[len(first) :]:
                self.look(visit, block, site)
                self.apply_at(visit, block, site, stream)
        self._norms.freeze(None)

    def look(self, visit: Visit, block: Block, site: str) -> None:
        """Let edits of a site read what comes before it in a block; to be called before anything there is read."""
        at = (visit.index, block.index, site)
        if self._looking and at != self._looked_at:
            self._looked_at = at
            self._looked = {
                position: edit.look(block)
                for position, edit in self._looking.items()
                if edit.scope.site == site
                and block.index in self._blocks[position]
                and edit.scope.branches_at(visit, self._steps)
            }

    def apply_at(self, visit: Visit, block: Block, site: str, stream: str) -> None:
        """Apply the edits that cover one site of one stream of a block."""
        for position, edit in enumerate(self._edits):
            if (edit.scope.site, edit.scope.stream) == (site, stream):
                self._apply_covering(position, edit, visit, block)
        for position, edit in enumerate(self._edits):
            if edit.looks_back and edit.scope.stream == stream and block.index in self._blocks[position]:
                self._earlier.read(position, edit, visit, block, site, self._steps)

    def _apply_covering(self, position: int, edit: Edit, visit: Visit, block: Block) -> None:
        if block.index not in self._blocks[position]:
            return
        branches = edit.scope.branches_at(visit, self._steps)
        if not branches:
            return
        at = (position, visit.step, block.index)
        if at not in self._channels:
            self._channels[at] = acting_channels(edit, block, visit.step, self._dit.width)
        if len(self._channels[at].ids) or edit.spares_channels:
            self._fired[position] |= self._apply(position, visit, branches, block, self._channels[at])

    def _apply(
        self, position: int, visit: Visit, branches: Sequence[str], block: Block, acting: ActingChannels
    ) -> bool:
        edit, run = self._edits[position], self._dit.run_state
        scope, looked = edit.scope, self._looked.get(position)
        hidden = block.read(scope.site, scope.stream)
        # Asking for the grid waits for the device.
        selected = tokens_at(scope.tokens, visit.step, block.index)
        grid = run.inputs.grid if has_grid(selected) or edit.has_grid else None
        positions = token_positions(selected, hidden.shape[1], grid)
        if not len(positions):
            return False
        tokens, channels = (torch.as_tensor(part, device=hidden.device) for part in (positions, acting.ids))
        # A call of embeddings does not tell what they are called.
        known = run.samples if self._samples is None else self._samples
        samples = tuple((prompt and str(prompt), seed) for prompt, seed in known)
        own = tuple(range(len(samples)) if self._positions is None else self._positions)
        masks = list(_own_masks(edit, selected, samples, own, hidden.shape[1], grid, positions))
        members = acting.of_rows(samples, own)
        edited = hidden.clone()
        text_mask = run.inputs.text_mask if scope.stream == "text" and SITES[scope.site].has_tokens else None
        for branch in branches:
            rows = visit.slice(len(hidden), branch)
            place = (rows, tokens[:, None], channels)
            every = None if text_mask is None else text_mask[rows].to(hidden.device)
            real = [] if every is None else [every[:, tokens, None]]
            reached = [*(torch.as_tensor(mask, device=hidden.device) for mask in masks), *real]
            own_channels = (
                [] if members is None else [torch.as_tensor(members[:, None], device=hidden.device)]
            )
            context = EditContext(
                old=hidden[place].float(),
                acts=_all_of([*reached, *own_channels]),
                real=every,
                looked=None if looked is None else looked[rows],
                hidden=hidden[rows] if every is None else hidden[rows].masked_fill(~every[:, :, None], 0),
                visit=visit,
                branch=branch,
                block=block,
                site=scope.site,
                stream=scope.stream,
                samples=samples,
                positions=own,
                tokens=tokens,
                channels=channels,
                grid=grid,
                earlier=self._earlier.at(position, visit, block, branch) if edit.looks_back else None,
            )
            context, chosen = narrowed(edit, context, functools.partial(_new_values, edit))
            new = self.new_values(edit, context).to(hidden.dtype)
            if context.acts is not None:
                # Padding stays: an image must not depend on how long its neighbours' texts are.
                new = torch.where(context.acts, new, hidden[place])
            edited[place] = new
            wanted = None if chosen is None else chosen.wanted
            self.firings.add(edit, context, new.float(), wanted, _all_of(reached))
        self._norms.take(edit, block, hidden, edited)
        block.write(scope.site, scope.stream, edited)
        return True

    def new_values(self, edit: Edit, context: EditContext) -> torch.Tensor:
        """What takes the place of ``context.old``, in its shape."""
        return _new_values(edit, context)

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


def _all_of(masks: Sequence[torch.Tensor]) -> torch.Tensor | None:
    return functools.reduce(torch.logical_and, masks) if masks else None


def _own_masks(
    edit: Edit,
    selected: Tokens | None,
    samples: Sequence[Any],
    own: Sequence[int],
    n_tokens: int,
    grid: tuple[int, int] | None,
    positions: np.ndarray,
) -> Iterator[np.ndarray]:
    """What selects rows, and of each row's own tokens, bool, broadcast to ``[row, token, channel]``."""
    taken = np.array([edit.acts_on(sample) for sample in samples])
    if not taken.all():
        yield taken[:, None, None]
    if differs_by_sample(selected):
        assert isinstance(selected, xr.DataArray)
        masks = token_mask(selected, n_tokens, grid)[:, positions]
        rows = [own_sample(selected, *each, "masks") for each in zip(samples, own, strict=True)]
        yield masks[rows][:, :, None]


def _require_fitting(edit: Edit, dit: DiT, probe: Probe, batches: Batches) -> None:
    """Refuse an edit that the probed call shows to be of other tokens, or never to fire."""
    scope, schedule = edit.scope, probe.schedule
    if scope.stream == "image" and SITES[scope.site].has_tokens:
        edit.check_tokens(probe.tokens["image"], probe.grid)
    wanted = schedule.branches if scope.branches is None else scope.branches
    steps = schedule.steps
    if not set(wanted) & set(schedule.branches):
        raise EditError(
            f"the edit '{edit.label}' in branch {' and '.join(wanted)}",
            f"a branch that the call has: {' and '.join(schedule.branches)}",
            "Without guidance there is no uncond branch.",
        )
    if not any(map(scope.has_step, steps, schedule.sigmas, [steps] * len(steps))):
        levels = ", ".join(f"{sigma:.3g}" for sigma in schedule.sigmas)
        raise EditError(
            f"the edit '{edit.label}' at sigmas {scope.sigmas}",
            f"at least one step of noise level {levels}",
            "Widen sigmas= or steps=.",
        )
    # Texts differ in length between batches and branches; a mask of one length is for some of them.
    if scope.stream in probe.tokens and (scope.stream == "image" or isinstance(scope.tokens, tuple)):
        n_tokens, tokens = probe.tokens[scope.stream], scope.tokens
        if isinstance(tokens, xr.DataArray):
            tokens = _where_it_acts(tokens, "masks", edit, dit, probe, batches)
        if not len(token_positions(tokens, n_tokens, probe.grid)):
            raise EditError(
                f"the edit '{edit.label}' with a mask of no token where it acts",
                "at least one token in a step, a block and a sample of the run",
                "Pass another mask.",
            )
    named = edit.channels
    if isinstance(named, ChannelSet) and "sample" in named.kept and not edit.spares_channels:
        ids = _where_it_acts(named.ids, "channels", edit, dit, probe, batches)
        if (ids == PADDING).all():
            raise EditError(
                f"the edit '{edit.label}' without a channel where it acts",
                "at least one channel in a step, a block and a sample of the run",
                "Pass other channels.",
            )


def _where_it_acts(
    array: xr.DataArray, what: str, edit: Edit, dit: DiT, probe: Probe, batches: Batches
) -> xr.DataArray:
    """Of masks or channels that differ, those of the steps, blocks and samples of the run in which the edit acts."""
    schedule = probe.schedule
    levels = zip(schedule.steps, schedule.sigmas, strict=True)
    acting = {
        "step": [step for step, sigma in levels if edit.scope.has_step(step, sigma, schedule.steps)],
        "block": [block.index for block in edit.chosen(dit.blocks)],
    }
    array = array.sel({dim: labels for dim, labels in acting.items() if dim in array.dims})
    samples = list(enumerate(chain(*batches)))
    if "sample" in array.dims and samples:
        own = [own_sample(array, sample, at, what) for at, sample in samples if edit.acts_on(sample)]
        array = array.isel(sample=own)
    return array


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
