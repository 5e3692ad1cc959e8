"""One visit of a run that is recorded: every selected site is read there, and given to the writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch

from ditscope.cache.visit_reading import Address, Reading
from ditscope.errors import InputError
from ditscope.recording.device_statistics import token_statistics
from ditscope.recording.token_choice import drawn_tokens
from ditscope.recording.transfer import Gathering, to_host, waits_for_device
from ditscope.vocabulary import passing_order

if TYPE_CHECKING:
    from ditscope.cache.schema import StreamSpec
    from ditscope.cache.writer import CacheWriter
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit


class RecordedVisit:
    """Reads at a visit whatever the store keeps, and gives it to the writer.

    On a device, whatever is read at a site in one visit is moved to the host together, as far as
    :data:`ditscope.recording.transfer.GATHERED_BYTES` has room for it.

    Args:
        dit: the model that runs.
        writer: where values go; its schema says what is kept.
        batch: positions in the store of the samples that are generated together, by row; those that it has are not
            written again.

    Attributes:
        outputs: the transformer's output as tokens, ``[row, step, branch, token, latent channel]``.
    """

    def __init__(self, dit: DiT, writer: CacheWriter, batch: Sequence[int]) -> None:
        self._dit, self._writer, self._schema = dit, writer, writer.schema
        schema, run = writer.schema, writer.schema.trajectory
        assert run is not None, "every recording of a model has a trajectory"
        self._n_rows = len(batch)
        pending = [row for row, sample in enumerate(batch) if sample not in writer.entries]
        self._rows = pending if len(pending) < len(batch) else slice(None)
        self._samples = [batch[row] for row in pending]
        self._steps = [step.index for step in schema.steps]
        self._all_steps = [step.index for step in run.steps]
        self._order = [
            (schema.site(stream, site), stream, site)
            for site, stream in passing_order(schema.site_names, schema.stream_names)
        ]
        self._drawn: dict[str, np.ndarray[Any, Any]] = {
            stream.name: self._draw(stream, batch)
            for stream in schema.streams
            if schema.tensors and stream.random_tokens is not None
        }
        self._moved_ids: dict[torch.device, torch.Tensor] = {}
        dtype = ml_dtypes.bfloat16 if schema.dtype == "bfloat16" else np.dtype(schema.dtype)
        shape = (len(batch), len(run.steps), len(schema.branches), run.tokens, run.channels)
        self.outputs = np.zeros(shape, dtype)

    def __call__(self, visit: Visit) -> None:
        """Read one visit; to be called inside the trace."""
        branches = tuple(branch for branch in visit.branches if branch in self._schema.branches)
        if not branches:
            return
        if visit.step in self._steps:
            self._put_masks(visit, branches)
            self._put_drawn(visit, branches)
            self._read_blocks(visit, branches)
        output = self._dit.run_state.inputs.as_tokens(self._dit.transformer.output[0])
        step = self._all_steps.index(visit.step)
        for branch, rows in self._by_branch(branches, to_host(self._kept(visit, branches, output))):
            self.outputs[:, step, self._schema.branches.index(branch)] = rows

    def _read_blocks(self, visit: Visit, branches: tuple[str, ...]) -> None:
        text_mask = self._dit.run_state.inputs.text_mask
        real = None if text_mask is None else self._kept(visit, branches, text_mask)
        gathering = Gathering()

        def put(moved: Iterable[tuple[tuple[str, str, str], int, np.ndarray]]) -> None:
            for (kept, site, stream), block, values in moved:
                for branch, rows in self._by_branch(branches, values):
                    address = Address(stream, site, visit.step, branch, block)
                    self._writer.put(Reading(address, self._samples, **{kept: rows[self._rows]}))

        for block in [self._dit.blocks[block.index] for block in self._schema.blocks]:
            for stored, stream, site in self._order:
                if block.index not in stored.blocks:
                    continue
                hidden = self._kept(visit, branches, block.read(site, stream))
                if len(self._schema.channels) < self._schema.width:
                    hidden = hidden.index_select(-1, self._ids_on(hidden.device))
                key = ("hidden", site, stream)
                if not stored.has_tokens:
                    put(gathering.add(key, block.index, hidden[:, 0].to(torch.float32, copy=True)))
                    continue
                if self._schema.stats:
                    statistics = token_statistics(hidden, real if stream == "text" else None)
                    put(gathering.add(("statistics", site, stream), block.index, statistics))
                if not self._schema.tensors:
                    continue
                hidden = self._chosen_tokens(stream, hidden, len(branches))
                if waits_for_device(hidden):  # a copy, since the model may write into its own
                    put(gathering.add(key, block.index, hidden.detach().clone()))
                else:
                    put([(key, block.index, to_host(hidden))])
        put(gathering.moved())

    def _draw(self, stream: StreamSpec, batch: Sequence[int]) -> np.ndarray[Any, Any]:
        """The tokens of each row, drawn for its sample: ``[row, token]``."""
        assert stream.random_tokens is not None
        count, seed = stream.random_tokens, self._schema.token_seed
        return np.stack(
            [drawn_tokens(stream.tokens, count, seed, self._writer.samples[at].identity) for at in batch]
        )

    def _chosen_tokens(self, stream: str, hidden: torch.Tensor, n_branches: int) -> torch.Tensor:
        """The tokens whose hidden states are kept, ``[row, token, channel]``."""
        spec = self._schema.stream(stream)
        if spec.keeps_all:
            return hidden
        ids = self._drawn.get(stream, np.array(spec.token_ids)[None].repeat(self._n_rows, 0))
        index = torch.from_numpy(np.tile(ids, (n_branches, 1)).astype(np.int64)).to(hidden.device)
        return hidden.gather(1, index[:, :, None].expand(-1, -1, hidden.shape[-1]))

    def _ids_on(self, device: torch.device) -> torch.Tensor:
        """The recorded channels' ids, moved to each device once."""
        if device not in self._moved_ids:
            self._moved_ids[device] = torch.tensor(self._schema.channels, device=device)
        return self._moved_ids[device]

    def _put_masks(self, visit: Visit, branches: tuple[str, ...]) -> None:
        """Which text tokens are real, once a sample and branch: at the first recorded step."""
        if visit.step != self._steps[0] or "text" not in self._schema.stream_names:
            return
        inputs = self._dit.run_state.inputs
        if inputs.text_mask is None:
            masks = np.ones((len(branches) * self._n_rows, inputs.text_tokens), dtype=bool)
        else:
            masks = to_host(self._kept(visit, branches, inputs.text_mask))
        for branch, rows in self._by_branch(branches, masks):
            self._writer.put_token_masks(self._samples, "text", branch, rows[self._rows])

    def _put_drawn(self, visit: Visit, branches: tuple[str, ...]) -> None:
        """Which tokens were drawn, once a sample."""
        if visit.step == self._steps[0] and self._schema.branches[0] in branches:
            for stream, ids in self._drawn.items():
                for sample, own in zip(self._samples, ids[self._rows], strict=True):
                    self._writer.put_token_ids(sample, stream, own)

    def _kept(self, visit: Visit, branches: tuple[str, ...], tensor: torch.Tensor) -> torch.Tensor:
        """The rows of the branches that are kept: all of a visit's, or those of one."""
        rows = self._n_rows * len(visit.branches)
        if len(tensor) != rows:
            raise InputError(
                f"{len(tensor)} rows for {self._n_rows} samples in branches {' '.join(visit.branches)}",
                f"{rows} rows",
                "Pass arguments that the pipeline takes for each prompt as one text, or one for each prompt.",
            )
        return tensor if branches == visit.branches else visit.rows(tensor, branches[0])

    def _by_branch(self, branches: tuple[str, ...], array: np.ndarray[Any, Any]) -> Iterator[tuple[str, Any]]:
        """Each branch with its rows of what :meth:`_kept` gave."""
        return zip(branches, array.reshape(len(branches), self._n_rows, *array.shape[1:]), strict=True)
