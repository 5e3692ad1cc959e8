"""An edited run shares its beginning with the unedited one: what was recorded of that takes the place of computing it.

Up to the end of the first step in which something is edited, the latents are those of the unedited run. So a visit in
which nothing is edited gets the transformer's recorded output; in one in which something is, the blocks before it are
skipped, the last of them with its recorded output. The pipeline's own loop runs through all steps, and with it the
scheduler and the callbacks. Text is encoded again, which is a small part of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_diffusers import prefetches
from ditscope.models._internals.of_torch import torch_hooks
from ditscope.models.plain_form import KNOWN_CODE
from ditscope.models.replaced_modules import foreign_forward
from ditscope.tracing.run import STOP, run_traced

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.batches import Batch
    from ditscope.tracing.probe import Probe

Place = tuple[int, int]
"""A visit and a block, by index: the block's output there."""

MEMORY_BUDGET = 512 * 2**20
"""Bytes, where nothing else is asked for."""

WHOLE, BY_STEP, BY_BLOCK = "whole runs", "from the edited step", "from the edited block"


def why_whole(dit: DiT) -> str | None:
    """What on the model may keep something from visit to visit, so that no visit may be left out; None if nothing.

    Schedulers of several steps, noise that the call's generators draw, callbacks, ControlNets and IP-Adapters are no
    reason: the pipeline's loop runs as ever. What acts inside the transformer is, unless it is of a known library.
    """
    transformer = dit.diffusers_pipeline.transformer
    for name, module in transformer.named_modules():
        if module is not transformer and any(torch_hooks(module)):
            return f"a forward hook on {name}"
        if prefetches(module):
            return "group offload with use_stream, which fetches weights in the order in which modules ran before"
        for part in (module, getattr(module, "processor", None)):
            if part is not None and type(part).__module__.partition(".")[0] not in KNOWN_CODE:
                return f"{type(part).__name__} at {name}, of no known library"
        if foreign_forward(module) is not None:
            return f"a forward that was set on {name}"
    return None


class Replay:
    """The unedited run of one batch, as far as it is recorded, and edited runs that begin with it.

    Record with :meth:`record` as ``at_visit`` of the unedited run, then let :meth:`run_from` make an ``at_visit`` for
    each edited one. Hidden states are kept for the runs that come next, as many as fit; when they are used up, the
    next ones are recorded in a run that begins with what there is, and stops behind the last of them.

    Args:
        dit: the model.
        batch: what is generated.
        probe: of the very call.
        starts: of every run that will be made, in that order: for each visit, the first block that runs otherwise, None
            where none does (:func:`ditscope.edits.recomputed_from.recomputed_from`).
        memory_budget: most bytes that are kept.

    Attributes:
        how: :data:`BY_BLOCK`; :data:`BY_STEP` where the budget has no room for hidden states; or :data:`WHOLE`.
        why: the reason where it is not by block, else empty.
    """

    def __init__(
        self,
        dit: DiT,
        batch: Batch,
        probe: Probe,
        starts: Sequence[Sequence[int | None]],
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        self._dit, self._batch, self._budget = dit, batch, memory_budget
        schedule, rows = probe.schedule, len(batch.samples)
        self._per_step, self._n_visits = schedule.visits_per_step, len(schedule)
        self._outputs: dict[int, Any] = {}
        self._latents: dict[int, torch.Tensor] = {}
        self._hidden: dict[Place, Any] = {}
        self._order = list(dict.fromkeys(place for run in starts for place in self._places(run)))
        self._branches = len(schedule.branches) if schedule.doubled else 1
        n_rows = rows * self._branches
        self._hidden_nbytes = n_rows * sum(probe.tokens.values()) * probe.width * probe.dtype.itemsize
        # Input and output of each visit; an output may have a learned variance beside.
        n_latents = n_rows * probe.latent_tokens * probe.latent_channels * probe.dtype.itemsize
        self._room = (memory_budget - 3 * n_latents * self._n_visits) // self._hidden_nbytes
        most = max((len(self._places(run)) for run in starts), default=0)
        self.how, self.why = BY_BLOCK, ""
        if reason := why_whole(dit):
            self.how, self.why = WHOLE, reason
        elif self._room < 0:
            self.how, self.why = WHOLE, f"{memory_budget} bytes do not hold a batch's outputs of all steps"
        elif self._room < most:
            self.how, self.why = BY_STEP, f"{memory_budget} bytes do not hold a batch's hidden states"
        self._wanted: set[Place] = set()
        self._plan(self._order)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept now."""
        kept = (self._outputs, self._latents, self._hidden)
        return sum(_nbytes(value) for values in kept for value in values.values())

    def record(self, visit: Visit) -> None:
        """Record a visit of the unedited run."""
        if self.how == WHOLE:
            return
        self._latents[visit.index] = _copy(self._dit.run_state.inputs["hidden_states"])
        self._record_blocks(visit.index, -1)
        self._outputs[visit.index] = _copy(self._dit.transformer.output)

    def run_from(
        self, start: Sequence[int | None], at_visit: Callable[[Visit], object], copies: int = 1
    ) -> Callable[[Visit], object]:
        """``at_visit`` of a run that begins with what is recorded, and in which ``at_visit`` edits from ``start`` on.

        The run may be of several ``copies`` of the batch, as of :meth:`ditscope.tracing.batches.Batch.repeated`.

        Raises:
            UnsupportedError: in the run, where its latents are not those of the unedited one when it begins to differ.
        """
        first = next((index for index, block in enumerate(start) if block is not None), None)
        if self.how == WHOLE or first is None:
            return at_visit
        places = self._places(start)
        if not self._hidden.keys() >= set(places):
            self._record_from(places)
        shared = self._end_of_step(first)

        def begun(visit: Visit) -> object:
            if visit.index < shared:
                if start[visit.index] is None:
                    self._dit.skip_visit(self._again(self._outputs[visit.index], copies))
                    return None
                self._require_shared(visit, copies)
                place = next((place for place in places if place[0] == visit.index), None)
                if place is not None and self.how == BY_BLOCK:
                    self._skip_to(place, self._again(self._hidden[place], copies))
            return at_visit(visit)

        return begun

    def _places(self, start: Sequence[int | None]) -> list[Place]:
        """The block outputs that a run begins with."""
        first = next((index for index, block in enumerate(start) if block is not None), len(start))
        edited = ((index, start[index]) for index in range(first, min(len(start), self._end_of_step(first))))
        return [(index, block - 1) for index, block in edited if block]

    def _end_of_step(self, visit: int) -> int:
        return (visit // self._per_step + 1) * self._per_step

    def _plan(self, order: Sequence[Place]) -> None:
        """Keep what comes first in an order, as far as there is room."""
        self._wanted = set(order[: self._room]) if self.how == BY_BLOCK else set()
        self._hidden = {place: value for place, value in self._hidden.items() if place in self._wanted}

    def _record_from(self, places: Sequence[Place]) -> None:
        """Record the hidden states of these places and the next ones, as many as fit."""
        if self.how != BY_BLOCK:
            return
        held = dict(self._hidden)  # what a first visit may begin with
        self._plan(self._order[min(self._order.index(place) for place in places) :])
        missing = sorted(self._wanted - self._hidden.keys())
        visits, last = {index for index, _ in missing}, missing[-1]

        def at_visit(visit: Visit) -> object:
            if visit.index not in visits:
                self._dit.skip_visit(_copy(self._outputs[visit.index]))
                return None
            self._require_shared(visit)
            block = min(block for index, block in missing if index == visit.index)
            before = max(
                (place for place in held if place[0] == visit.index and place[1] < block), default=None
            )
            if before is not None:
                self._skip_to(before, _copy(held[before]))
            self._record_blocks(visit.index, -1 if before is None else before[1])
            return STOP if visit.index == last[0] else None

        run_traced(self._dit, self._batch.samples, at_visit, **{**self._batch.call, "output_type": "latent"})

    def _record_blocks(self, visit: int, after: int) -> None:
        for block in self._dit.blocks[after + 1 :]:
            place = (visit, block.index)
            if place in self._wanted and place not in self._hidden:
                self._hidden[place] = _copy(block.output)

    def _skip_to(self, place: Place, value: Any) -> None:
        """Skip the blocks up to one, and let that one return a value."""
        blocks = self._dit.blocks
        for block in blocks[: place[1]]:
            block.pass_on()  # what it returns is not read: the last one skipped decides
        blocks[place[1]].skip(value)

    def _again(self, value: Any, copies: int) -> Any:
        """A copy of what is recorded; for several copies of the batch, with the rows of each branch as often."""
        if copies == 1:
            return _copy(value)
        if isinstance(value, tuple):
            return tuple(self._again(each, copies) for each in value)
        if not isinstance(value, torch.Tensor):
            return value
        rows = torch.arange(len(value), device=value.device).reshape(self._branches, -1)
        return value[rows.repeat(1, copies).flatten()]

    def _require_shared(self, visit: Visit, copies: int = 1) -> None:
        if not torch.equal(
            self._again(self._latents[visit.index], copies), self._dit.run_state.inputs["hidden_states"]
        ):
            raise UnsupportedError(
                f"latents at step {visit.step} other than those of the unedited run, before anything is edited",
                "runs of the same samples that are the same up to the first edit",
                "A callback or hook keeps something from run to run: let it begin afresh in each.",
            )


def _copy(value: Any) -> Any:
    """A copy in the same layout in memory, on which bits of later sums may depend; tuples part by part."""
    if isinstance(value, tuple):
        return tuple(map(_copy, value))
    if not isinstance(value, torch.Tensor):
        return value
    if 0 in value.stride():
        return value.clone()
    made = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=value.device)
    return made.copy_(value)


def _nbytes(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(map(_nbytes, value))
    return value.untyped_storage().nbytes() if isinstance(value, torch.Tensor) else 0
