"""What a block adds to its streams, put together from the sites inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ditscope.models.family import STREAMS
from ditscope.models.taps import Term

if TYPE_CHECKING:
    from ditscope.models.block import Block


def residual_errors(block: Block) -> dict[str, float]:
    """How far a block's output is from its input and the gated terms that its family says it adds.

    To be called inside a trace, at the visit, after ``block_input`` was read. The sum is made in float32::

        block_output == block_input + attn_gate * attn_output + mlp_gate * mlp_output + ...

    Returns:
        "block stream" -> largest difference, each relative to the sum of the terms' magnitudes at its place;
        infinite where the shapes do not fit.
    """
    # A block works on its image stream first.
    streams = [stream for stream in STREAMS if stream in block.layout.streams("block_output")]
    sums = {stream: [block.read("block_input", stream).float()] for stream in streams}
    attention: dict[str, list[Term]] = {stream: [] for stream in streams}
    others: dict[str, list[Term]] = {stream: [] for stream in streams}
    mlp: dict[str, list[Term]] = {stream: [] for stream in streams}
    for stream in streams:
        taps = block.layout.taps.get(stream, {})
        if "attn_output" in taps:
            attention[stream].append((taps["attn_output"], taps["attn_gate"]))
            mlp[stream].append((taps["mlp_output"], taps["mlp_gate"]))
        others[stream] += [term for term in block.layout.also_added.get(stream, ()) if block.has(term[0])]
    gates = {
        gate: block.tapped(gate, stream).float()
        for stream in streams
        for _, gate in (*attention[stream], *others[stream], *mlp[stream])
        if gate is not None
    }
    for terms in (attention, others, mlp):  # the order in which a block passes them
        for stream in streams:
            for tap, gate in terms[stream]:
                term = block.tapped(tap, stream).float()
                sums[stream].append(term if gate is None else gates[gate] * term)
    return {
        f"{block.name} {stream}": _error(sums[stream], block.read("block_output", stream))
        for stream in streams
    }


def _error(terms: list[torch.Tensor], output: torch.Tensor | None) -> float:
    if output is None or len({term.shape for term in (*terms, output)}) > 1:
        return float("inf")
    total, scale = terms[0], terms[0].abs()
    for term in terms[1:]:
        total, scale = total + term, scale + term.abs()
    return float(((output.float() - total).abs() / scale.clamp(min=1e-30)).max())
