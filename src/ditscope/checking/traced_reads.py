"""What a trace reads in a run, to be compared with what plain hooks see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ditscope.checking.block_equations import (
    modulation_errors,
    read_inside,
    residual_errors,
    tapped_streams,
)
from ditscope.checking.plain_hooks import CALLS_INSIDE, digest
from ditscope.models.hook_points import HookPoint
from ditscope.models.visits import Schedule, Visit
from ditscope.vocabulary import BLOCK_ENDS

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT


@dataclass
class TracedRun:
    """What was read in one run.

    Attributes:
        images: float ``[row, y, x, rgb]``, 0 to 1.
        schedule: the visits that were expected.
        visits: those that were made.
        digests: (visit, block, site, stream) -> digest.
        inside: (visit, block, hook point) -> digest, of the first visits.
        rejoined: of every block and visit, whether its streams join to its own output.
        residuals: block, stream and visit in words -> error of what the block adds.
        modulations: block, stream, part and visit in words -> error of what attention or the MLP is passed.
    """

    images: np.ndarray = field(default_factory=lambda: np.empty(0))
    schedule: Schedule = field(default_factory=lambda: Schedule((), (), ()))
    visits: list[Visit] = field(default_factory=list)
    digests: dict[tuple[int, int, str, str], str] = field(default_factory=dict)
    inside: dict[tuple[int, int, HookPoint], str] = field(default_factory=dict)
    rejoined: list[bool] = field(default_factory=list)
    residuals: dict[str, float] = field(default_factory=dict)
    modulations: dict[str, float] = field(default_factory=dict)

    def read(self, visit: Visit, block: Block, order: Sequence[HookPoint]) -> None:
        """Read a block at a visit: its inside in the first visits only, in the order in which it is passed."""
        for site in BLOCK_ENDS:
            if site == "block_output" and visit.index < CALLS_INSIDE:
                self._read_inside(visit, block, order)
            for stream in block.layout.streams(site):
                self.digests[visit.index, block.index, site, stream] = digest(block.read(site, stream))
        raw = rebuilt = block.output
        for stream in block.layout.streams("block_output"):
            rebuilt = block.whole("block_output", stream, rebuilt, block.part("block_output", stream, raw))
        self.rejoined.append(_same_output(raw, rebuilt))

    def _read_inside(self, visit: Visit, block: Block, order: Sequence[HookPoint]) -> None:
        starts = {stream: block.read("block_input", stream) for stream in tapped_streams(block)}
        served = read_inside(block, order)
        self.inside |= {(visit.index, block.index, point): digest(value) for point, value in served.items()}
        # In this order: the residual sum reads the block's output.
        for every, errors in (
            (self.modulations, modulation_errors(block, served)),
            (self.residuals, residual_errors(block, starts, served)),
        ):
            every |= {f"{where} in visit {visit.index}": error for where, error in errors.items()}


def run_traced_reads(dit: DiT, call: dict[str, Any], orders: Sequence[Sequence[HookPoint]]) -> TracedRun:
    """Run a call and read every block at every visit.

    Args:
        dit: the model.
        call: the pipeline's arguments.
        orders: of each block, its hook points in the order in which it passes them.
    """
    run = TracedRun()

    def at_visit(visit: Visit) -> None:
        run.visits.append(visit)
        for block, order in zip(dit.blocks, orders, strict=True):
            run.read(visit, block, order)

    run.images = _images(dit, call, at_visit)
    run.schedule = dit.run_state.schedule
    return run


def scaled_images(
    dit: DiT, call: dict[str, Any], factor: float, stream: str, blocks: Sequence[Block]
) -> np.ndarray:
    """Images of a run in which a stream of some blocks is multiplied by a factor, in every visit."""

    def at_visit(_: Visit) -> None:
        for block in blocks:
            getattr(block, stream)[:] *= factor

    return _images(dit, call, at_visit)


def _images(dit: DiT, call: dict[str, Any], at_visit: Callable[[Visit], None]) -> np.ndarray:
    with dit.generate(**call, output_type="np") as tracer:
        for visit in dit.visits(tracer):
            at_visit(visit)
        result = tracer.result.save()
    return np.asarray(result.images)


def _same_output(raw: Any, rebuilt: Any) -> bool:
    """Whether a block's output has been put together again, from the same tensors or the same values."""
    if isinstance(raw, torch.Tensor):
        return torch.equal(raw, rebuilt)
    return len(raw) == len(rebuilt) and all(
        a is b or torch.equal(a, b) for a, b in zip(raw, rebuilt, strict=True)
    )
