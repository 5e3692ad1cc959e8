"""The same recording in different ways: ditscope, and what one would write without it.

All record the image stream after every block of a FLUX.1 pipeline, of the same samples. What is written by hand is
written as one would write it: without a sync, and, but for zarr, when a call of the pipeline is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import zarr
from safetensors.torch import save_file

import ditscope as ds
from ditscope.recording.record import record  # here, so that no run is charged for the import
from ditscope.tracing.samples import call_of
from filled_stores import spent_in

FEW = 12
"""How many channels are kept where not all are."""


@dataclass
class Task:
    """What is generated, and recorded.

    Attributes:
        dit: a FLUX.1 pipeline, opened.
        samples: (prompt, seed) of each image; the seed is the same for all.
        call: arguments of the pipeline.
        batch_size: images generated together.
        visits: of the transformer in one call of the pipeline.
        hidden_bytes: of the image stream after every block, of all samples.
    """

    dit: ds.DiT
    samples: list[tuple[str, int]]
    call: Mapping[str, Any]
    batch_size: int
    visits: int = 0
    hidden_bytes: int = 0

    def batches(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Position of the first sample, and arguments of the pipeline, of each batch."""
        for first in range(0, len(self.samples), self.batch_size):
            batch = self.samples[first : first + self.batch_size]
            yield first, {**call_of(self.dit, batch, self.call), "output_type": "np"}

    @property
    def blocks(self) -> list[torch.nn.Module]:
        """The transformer's, in execution order."""
        transformer = self.dit.diffusers_pipeline.transformer
        return [*transformer.transformer_blocks, *transformer.single_transformer_blocks]

    def hooked(self, arguments: dict[str, Any], keep: Callable[[int, int, torch.Tensor], None]) -> None:
        """One call with plain hooks, which ``keep`` (visit, block, image stream ``[row, token, channel]``)."""
        visited = [0] * len(self.blocks)

        def hook(number: int) -> Callable[..., None]:
            def after(module: torch.nn.Module, inputs: Any, output: Any) -> None:
                keep(visited[number], number, output[1])
                visited[number] += 1

            return after

        handles = [block.register_forward_hook(hook(n)) for n, block in enumerate(self.blocks)]
        try:
            self.dit.diffusers_pipeline(**arguments)
        finally:
            for handle in handles:
                handle.remove()
        self.visits = visited[0]

    def warm_up(self) -> None:
        """Make the first batch, and see how many visits and bytes there are."""
        sizes: list[int] = []
        _, arguments = next(self.batches())
        self.hooked(arguments, lambda visit, block, hidden: sizes.append(hidden.nbytes))
        self.hidden_bytes = sum(sizes) // len(arguments["generator"]) * len(self.samples)


def bare(task: Task, folder: Path) -> None:
    """Nothing recorded."""
    for _, arguments in task.batches():
        task.dit.diffusers_pipeline(**arguments)


def ditscope(task: Task, folder: Path, **kept: Any) -> Mapping[str, float]:
    """A recording of ditscope, in the way that ``kept`` says: what it spent its seconds on, as far as it knows."""
    prompts, seed = [prompt for prompt, _ in task.samples], task.samples[0][1]
    with record(task.dit, folder, batch_size=task.batch_size, **kept) as recording:
        recording.generate(prompts, seed, **task.call)
    return spent_in(recording)


def statistics_only(task: Task, folder: Path) -> Mapping[str, float]:
    """No tensors."""
    return ditscope(task, folder, tensors=False)


def few_channels(task: Task, folder: Path) -> Mapping[str, float]:
    """Channels spread over all of the width."""
    width = task.dit.width
    return ditscope(task, folder, channels=sorted({number * width // FEW for number in range(FEW)}))


def hooks_torch_save(task: Task, folder: Path) -> None:
    """A dictionary a call, ``(visit, block)`` -> ``[row, token, channel]``."""
    folder.mkdir()
    for first, arguments in task.batches():
        kept: dict[tuple[int, int], torch.Tensor] = {}
        task.hooked(arguments, lambda visit, block, hidden, into=kept: _keep(into, (visit, block), hidden))
        torch.save(kept, folder / f"{first}.pt")


def hooks_safetensors(task: Task, folder: Path) -> None:
    """A file a sample, ``visit.block`` -> ``[token, channel]``."""
    folder.mkdir()
    for first, arguments in task.batches():
        kept: dict[str, torch.Tensor] = {}
        task.hooked(
            arguments, lambda visit, block, hidden, into=kept: _keep(into, f"{visit}.{block}", hidden)
        )
        for row in range(len(arguments["generator"])):
            own = {name: hidden[row].contiguous() for name, hidden in kept.items()}
            save_file(own, folder / f"{first + row}.safetensors")


def hooks_zarr(task: Task, folder: Path) -> None:
    """One array ``[sample, visit, block, token, channel]``, a chunk for each block, with zarr's defaults."""
    arrays: list[zarr.Array] = []
    for first, arguments in task.batches():

        def write(visit: int, block: int, hidden: torch.Tensor, first: int = first) -> None:
            values = hidden.detach().cpu()
            if values.dtype is torch.bfloat16:
                values = values.view(torch.int16)  # numpy and zarr have no bfloat16
            if not arrays:
                shape = (len(task.samples), task.visits, len(task.blocks), *values.shape[1:])
                chunks, dtype = (1, 1, 1, *values.shape[1:]), values.numpy().dtype
                arrays.append(zarr.create_array(folder, shape=shape, chunks=chunks, dtype=dtype))
            arrays[0][first : first + len(values), visit, block] = values.numpy()

        task.hooked(arguments, write)


def hooks_statistics(task: Task, folder: Path) -> None:
    """No tensors: four statistics over tokens, ``(visit, block)`` -> ``[statistic, row, channel]``, a file a call."""
    folder.mkdir()
    for first, arguments in task.batches():
        kept: dict[tuple[int, int], torch.Tensor] = {}

        def keep(visit: int, block: int, hidden: torch.Tensor, into: dict[Any, Any] = kept) -> None:
            values = hidden.detach().float()
            size = values.abs()
            std, mean = torch.std_mean(values, dim=1, correction=0)
            into[visit, block] = torch.stack([mean, size.mean(dim=1), std, size.amax(dim=1)]).cpu()

        task.hooked(arguments, keep)
        torch.save(kept, folder / f"{first}.pt")


def nnsight_cache(task: Task, folder: Path) -> None:
    """``tracer.cache()`` of all blocks, both streams, a file a call."""
    folder.mkdir()
    modules = [*task.dit.transformer.transformer_blocks, *task.dit.transformer.single_transformer_blocks]
    for first, arguments in task.batches():
        with task.dit.generate(**arguments) as tracer:
            kept = tracer.cache(modules=modules).save()
        torch.save(kept, folder / f"{first}.pt")


def _keep(into: dict[Any, torch.Tensor], name: Any, hidden: torch.Tensor) -> None:
    into[name] = hidden.detach().to("cpu", copy=True)  # a copy, since a view would keep the text stream too


@dataclass(frozen=True)
class Way:
    """One way to do it.

    Attributes:
        run: does it, into a path that is not there yet; ditscope's ways return what they spent their seconds on.
        gives_up: what a full recording of ditscope has beside.
    """

    run: Callable[[Task, Path], Mapping[str, float] | None]
    gives_up: str = ""


_ALWAYS = "labels, checksums, resuming, statistics, forecast"
_WHOLE = f"{_ALWAYS}, bounded memory, reading a part, reading without unpickling"

BARE, FULL = "bare generation", "ditscope, full"
STATISTICS, CHANNELS = "ditscope, statistics only", f"ditscope, {FEW} channels"
_BY_HAND: dict[str, Way] = {
    "hooks, torch.save": Way(hooks_torch_save, _WHOLE),
    "hooks, safetensors": Way(hooks_safetensors, f"{_ALWAYS}, bounded memory"),
    "hooks, zarr": Way(hooks_zarr, f"{_ALWAYS}, reading a few channels"),
    "nnsight cache, torch.save": Way(nnsight_cache, _WHOLE),
}
BY_HAND = tuple(_BY_HAND)
STATISTICS_BY_HAND = "hooks, statistics alone"
WAYS: dict[str, Way] = {
    BARE: Way(bare, "everything"),
    FULL: Way(ditscope),
    STATISTICS: Way(statistics_only, "tensors"),
    CHANNELS: Way(few_channels, "the other channels"),
    **_BY_HAND,
    STATISTICS_BY_HAND: Way(
        hooks_statistics, "tensors, counts of odd values, labels, checksums, resuming, forecast"
    ),
}
