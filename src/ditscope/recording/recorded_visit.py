"""One visit of a run that is recorded: every selected site is read there, and given to the writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch

from ditscope.cache.visit_reading import Address, Reading
from ditscope.errors import InputError
from ditscope.recording.device_copies import Arrays, DeviceCopies
from ditscope.recording.device_statistics import need_care, quick_statistics, token_statistics
from ditscope.recording.token_choice import drawn_tokens
from ditscope.recording.transfer import Gathered, Gathering, own_values, to_host
from ditscope.vocabulary import BLOCK_ENDS, passing_order, site_spec

if TYPE_CHECKING:
    from nnsight import Envoy

    from ditscope.cache.schema import StreamSpec
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.recording.destination import Destination


class RecordedVisit:
    """Reads at a visit whatever the store keeps, and gives it to the writer; all of it has it after :meth:`finish`.

    Whatever is read at a site in one visit is reduced and moved to the host together, as far as there is room for it
    (:class:`ditscope.recording.transfer.Gathering`), and while the model goes on, if it runs on a GPU
    (:class:`ditscope.recording.device_copies.DeviceCopies`).

    Args:
        dit: the model that runs.
        writer: where values go; its schema says what is kept.
        batch: positions in the store of the samples that are generated together, by row; those that it has are not
            written again.
        image: whose tokens the image stream's are: 0 for the generated image, then the reference images.

    Attributes:
        outputs: the transformer's output as tokens, ``[row, step, branch, token, latent channel]``.
    """

    def __init__(self, dit: DiT, writer: Destination, batch: Sequence[int], image: int = 0) -> None:
        self._dit, self._writer, self._schema, self._image = dit, writer, writer.schema, image
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
        self._gathering = Gathering()
        self._copies = DeviceCopies(writer.buffers, writer.time)
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
        output = self._dit.run_state.inputs.as_tokens(self._dit.transformer.output[0], self._image)
        put = partial(self._put_output, self._all_steps.index(visit.step), branches)
        self._copies.add(own_values(self._kept(visit, branches, output)), lambda own: {"output": own}, put)

    def reads_at(self) -> Iterator[Envoy]:
        """The modules at which it reads."""
        yield self._dit.transformer
        for block in [self._dit.blocks[block.index] for block in self._schema.blocks]:
            yield block
            inside = [
                block.layout.taps[stream][site].module
                for stored, stream, site in self._order
                if block.index in stored.blocks and site not in BLOCK_ENDS
            ]
            yield from (block.submodule(path) for path in inside if path)

    def finish(self) -> None:
        """Wait until the writer has all of it; to be called when the run is over."""
        self._copies.finish()

    def _put_output(self, step: int, branches: tuple[str, ...], arrays: Arrays) -> None:
        rows = self._by_branch(branches, arrays["output"])
        for branch, own in zip(branches, rows, strict=True):
            self.outputs[:, step, self._schema.branches.index(branch)] = own

    def _read_blocks(self, visit: Visit, branches: tuple[str, ...]) -> None:
        text_mask = self._dit.run_state.inputs.text_mask
        real = None if text_mask is None else self._kept(visit, branches, text_mask)
        gathering = self._gathering

        def put(gathered: Iterable[Gathered]) -> None:
            for (site, stream), blocks, hidden in gathered:
                masks = None if real is None or stream != "text" else real.repeat(len(hidden), 1)
                places = [Address(stream, site, visit.step, branch, blocks) for branch in branches]
                reduce = partial(self._reduced, site, stream, masks)
                self._copies.add(hidden, reduce, partial(self._put_hidden, places, hidden, masks))

        for block in [self._dit.blocks[block.index] for block in self._schema.blocks]:
            for stored, stream, site in self._order:
                if block.index not in stored.blocks:
                    continue
                hidden = self._kept(visit, branches, block.read(site, stream, self._image))
                if len(self._schema.channels) < self._schema.width:
                    hidden = hidden.index_select(-1, self._ids_on(hidden.device))
                if not stored.has_tokens:
                    hidden = hidden[:, 0].to(torch.float32)
                put(gathering.add((site, stream), block.index, hidden))
        put(gathering.gathered())

    def _reduced(
        self, site: str, stream: str, masks: torch.Tensor | None, hidden: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """What is kept of hidden states ``[block, row, token, channel]``; of modulation, its values."""
        kept = {}
        if self._schema.stats and site_spec(site).has_tokens:
            kept["statistics"] = quick_statistics(hidden.flatten(0, 1), masks)
        if self._schema.tensors or not site_spec(site).has_tokens:
            kept["hidden"] = self._chosen_tokens(stream, hidden) if site_spec(site).has_tokens else hidden
        return kept

    def _put_hidden(
        self,
        places: Sequence[Address],
        hidden: torch.Tensor,
        masks: torch.Tensor | None,
        arrays: Arrays,
    ) -> None:
        """Give the writer what was kept of hidden states, branch by branch."""
        arrays, shape = dict(arrays), (len(hidden), len(places), self._n_rows)
        if (reduced := arrays.get("statistics")) is not None:
            # The look at them, for which nobody waits before they are here.
            if need_care(torch.from_numpy(reduced), hidden.dtype).any():
                reduced = to_host(token_statistics(hidden.flatten(0, 1), masks))
            arrays["statistics"] = reduced.reshape(*hidden.shape[:2], *reduced.shape[1:])
        by_place = {kept: array.reshape(*shape, *array.shape[2:]) for kept, array in arrays.items()}
        for index, address in enumerate(places):
            rows = {kept: array[:, index, self._rows] for kept, array in by_place.items()}
            self._writer.put(Reading(address, self._samples, **rows))

    def _draw(self, stream: StreamSpec, batch: Sequence[int]) -> np.ndarray[Any, Any]:
        """The tokens of each row, drawn for its sample: ``[row, token]``."""
        assert stream.random_tokens is not None
        count, seed = stream.random_tokens, self._schema.token_seed
        return np.stack(
            [drawn_tokens(stream.tokens, count, seed, self._writer.samples[at].identity) for at in batch]
        )

    def _chosen_tokens(self, stream: str, hidden: torch.Tensor) -> torch.Tensor:
        """The tokens whose hidden states are kept, of ``[block, row, token, channel]``."""
        spec = self._schema.stream(stream)
        if spec.keeps_all:
            return hidden
        if spec.token_ids is not None:
            return hidden[:, :, list(spec.token_ids)]
        drawn = self._drawn[stream].astype(np.int64)
        ids = torch.from_numpy(np.tile(drawn, (hidden.shape[1] // self._n_rows, 1))).to(hidden.device)
        return hidden.gather(2, ids[None, :, :, None].expand(len(hidden), -1, -1, hidden.shape[-1]))

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
        for branch, rows in zip(branches, self._by_branch(branches, masks), strict=True):
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

    def _by_branch(self, branches: tuple[str, ...], array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What :meth:`_kept` gave, as ``[branch, row, ...]``."""
        return array.reshape(len(branches), self._n_rows, *array.shape[1:])
