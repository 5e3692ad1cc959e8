"""One visit of a run that is recorded: every selected site is read there, and handed to the writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import torch

from ditscope.recording.statistics import token_statistics
from ditscope.vocabulary import passing_order, site_spec

if TYPE_CHECKING:
    from ditscope.cache.schema import Schema
    from ditscope.cache.writer import CacheWriter
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.recording.selection import Selection


class RecordedVisit:
    """Reads every selected site at a visit and hands it to the writer.

    Args:
        dit: the model that runs.
        selection: what is kept.
        schema: of the store; its steps are those that are kept.
        writer: where values go.
        batch: the samples that are generated together, by row; those that the store has are not written again.

    Attributes:
        outputs: the transformer's output as tokens, ``[row, step, branch, token, latent channel]``.
    """

    def __init__(
        self, dit: DiT, selection: Selection, schema: Schema, writer: CacheWriter, batch: Sequence[int]
    ) -> None:
        self._dit, self._selection, self._schema = dit, selection, schema
        self._writer, self._batch = writer, batch
        run = schema.trajectory
        assert run is not None, "every recording of a model has a trajectory"
        self._steps = {step.index: position for position, step in enumerate(schema.steps)}
        self._all_steps = {step.index: place for place, step in enumerate(run.steps)}
        self._branches = {branch: position for position, branch in enumerate(schema.branches)}
        self._order = passing_order(selection.sites, selection.streams)
        self._pending = [(row, sample) for row, sample in enumerate(batch) if sample not in writer.committed]
        self._ids = None
        if len(selection.channels) < schema.width:
            self._ids = torch.tensor(selection.channels)
        dtype = ml_dtypes.bfloat16 if schema.dtype == "bfloat16" else np.dtype(schema.dtype)
        shape = (len(batch), len(run.steps), len(schema.branches))
        self.outputs = np.zeros((*shape, run.tokens, run.channels), dtype)

    def __call__(self, visit: Visit) -> None:
        """Read and hand over one visit; to be called inside the trace."""
        branches = [branch for branch in visit.branches if branch in self._branches]
        if visit.step in self._steps and branches:
            self._put_masks(visit, branches)
            for position, index in enumerate(self._selection.blocks):
                self._read_block(visit, branches, position, self._dit.blocks[index])
        output = self._dit.run_state.inputs.as_tokens(self._dit.transformer.output[0]) if branches else None
        for branch in branches:
            place = (slice(None), self._all_steps[visit.step], self._branches[branch])
            self.outputs[place] = as_array(visit.rows(output, branch))

    def _read_block(self, visit: Visit, branches: list[str], position: int, block: Block) -> None:
        for site, stream in self._order:
            hidden = block.read(site, stream)
            if self._ids is not None:
                hidden = hidden.index_select(-1, self._ids.to(hidden.device))
            real = self._dit.run_state.inputs.text_mask if stream == "text" else None
            for branch in branches:
                place = (self._steps[visit.step], self._branches[branch], position)
                rows = None if real is None else visit.rows(real, branch)
                if site_spec(site).has_tokens:
                    self._put(stream, site, place, visit.rows(hidden, branch), rows)
                else:
                    self._put_values(stream, site, place, visit.rows(hidden, branch))

    def _put_masks(self, visit: Visit, branches: list[str]) -> None:
        """Which text tokens are real, once a sample and branch: at the first recorded step."""
        if self._steps[visit.step] or "text" not in self._selection.streams:
            return
        handed = self._dit.run_state.inputs
        n_rows = len(self._batch) * len(visit.branches)
        real = handed.text_mask
        if real is None:
            real = torch.ones(n_rows, handed.text_tokens, dtype=torch.bool)
        for branch in branches:
            masks = visit.rows(real, branch).cpu().numpy()
            for row, sample in self._pending:
                self._writer.put_token_mask(sample, self._branches[branch], "text", masks[row])

    def _put_values(self, stream: str, site: str, place: tuple[int, int, int], values: torch.Tensor) -> None:
        array = as_array(values[:, 0].float())
        for row, sample in self._pending:
            self._writer.put(sample, stream, site, *place, array[row])

    def _put(
        self,
        stream: str,
        site: str,
        place: tuple[int, int, int],
        hidden: torch.Tensor,
        real: torch.Tensor | None,
    ) -> None:
        if self._schema.stats:
            reduced = token_statistics(hidden, real)
            statistics = {name: values.cpu().numpy() for name, values in reduced.items()}
            for row, sample in self._pending:
                self._writer.put_stats(
                    sample, stream, site, *place, {n: v[row] for n, v in statistics.items()}
                )
        if self._schema.tensors:
            array = as_array(hidden)
            for row, sample in self._pending:
                self._writer.put(sample, stream, site, *place, array[row])


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as a numpy array on the CPU, bit for bit; bfloat16 becomes ``ml_dtypes.bfloat16``."""
    values = tensor.detach().contiguous().cpu()
    if values.dtype == torch.bfloat16:
        return values.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return values.numpy()
