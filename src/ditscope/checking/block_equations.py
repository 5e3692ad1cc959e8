"""What a block does inside, compared with what its family says: the sites' own equations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ditscope.models._internals.of_nnsight import module_of
from ditscope.models.hook_points import HookPoint, Tap, Term
from ditscope.models.module_arguments import parameter_names
from ditscope.vocabulary import STREAMS

if TYPE_CHECKING:
    from ditscope.models.block import Block

Served = Mapping[HookPoint, Any]
"""What is served at hook points inside a block, at one visit."""


def tapped_streams(block: Block) -> list[str]:
    """The streams that a block returns, image first."""
    return [stream for stream in STREAMS if stream in block.layout.streams("block_output")]


def hook_points(block: Block) -> list[HookPoint]:
    """Every hook point inside a block that its family names, each once."""
    points = [tap.hook_point for stream in tapped_streams(block) for tap in _taps(block, stream)]
    return list(dict.fromkeys(points))


def missing(block: Block, wanted: Iterable[HookPoint]) -> list[str]:
    """Submodules and arguments that a block should have and does not."""
    absent = []
    for point in wanted:
        module = _submodule(module_of(block), point.module)
        if module is None:
            absent.append(point.module)
        elif point.argument and point.argument not in parameter_names(module):
            absent.append(f"{point.module or type(module).__name__}({point.argument}=)")
    return list(dict.fromkeys(absent))


def sites_without_equation(block: Block) -> list[str]:
    """Sites of a block that are in no equation: they are offered, and nothing would show if they were wrong.

    Outputs and gates are in the residual sum, shifts and scales in what they make.
    """
    without = []
    for stream in tapped_streams(block):
        terms, modulated = _terms(block, stream), block.layout.modulated.get(stream, {})
        for site, tap in block.layout.taps.get(stream, {}).items():
            part, what = site.split("_")
            if what in ("shift", "scale"):
                covered = part in modulated
            else:
                covered = what == "output" or any(gate == tap for _, gate in terms)
            if not covered:
                without.append(f"{site} of the {stream} stream of {block.name}")
    return without


def streams_out_of_order(block: Block, order: Sequence[HookPoint]) -> list[str]:
    """Streams of a block for which attention and MLP are exchanged, which no sum notices.

    Attention takes its stream and puts out, then the MLP.
    """
    out_of_order = []
    for stream in tapped_streams(block):
        taps, modulated = block.layout.taps.get(stream, {}), block.layout.modulated.get(stream, {})
        points = []
        for part in ("attn", "mlp"):
            if f"{part}_output" in taps:
                points += [modulated[part].passed.hook_point] if part in modulated else []
                points.append(taps[f"{part}_output"].hook_point)
        positions = list(map(order.index, points))
        if positions != sorted(positions):
            out_of_order.append(f"the {stream} stream of {block.name}")
    return out_of_order


def read_inside(block: Block, order: Iterable[HookPoint]) -> dict[HookPoint, Any]:
    """What is served at hook points inside a block; to be called in a trace, between its input and its output.

    Args:
        block: the block.
        order: the hook points in the order in which the block passes them.
    """
    return {point: block.served(point) for point in order}


def residual_errors(block: Block, starts: Mapping[str, torch.Tensor], served: Served) -> dict[str, float]:
    """How far a block's output is from its input and the gated terms that its family says it adds.

    To be called in a trace, at the block's output. The sum is made in float32::

        block_output == block_input + attn_gate * attn_output + mlp_gate * mlp_output + ...

    Args:
        block: the block.
        starts: stream -> ``block_input`` ``[row, token, channel]``.
        served: what :func:`read_inside` read.

    Returns:
        "block stream" -> largest difference in roundings of the output's dtype, each relative to the sum of the
        terms' magnitudes there; infinite where the shapes do not fit. "block stream attn" for the sum with
        attention alone, where the family says where that is.
    """
    errors = {}
    for stream, start in starts.items():
        added = _terms(block, stream)
        attended = block.layout.attended.get(stream)
        if attended is not None:
            terms = _summands(block, stream, start, added[:1], served)
            total = block.tapped(attended, stream, served[attended.hook_point])
            errors[f"{block.name} {stream} attn"] = _error(terms, total)
            added = added[1:]
        if added:  # else nothing is claimed
            # Before the output is read: offloading takes the block's tables away once that is served.
            terms = _summands(block, stream, start, added, served)
            errors[f"{block.name} {stream}"] = _error(terms, block.read("block_output", stream))
    return errors


def _summands(
    block: Block, stream: str, start: torch.Tensor, added: list[Term], served: Served
) -> list[torch.Tensor]:
    """The stream as it came and the gated terms, in float32."""
    terms = [start.float()]
    for tap, gate in added:
        term = block.tapped(tap, stream, served[tap.hook_point]).float()
        terms.append(term if gate is None else _float(block, gate, stream, served) * term)
    return terms


def modulation_errors(block: Block, served: Served) -> dict[str, float]:
    """How far what attention and MLP are passed is from the shifted and scaled norm, in float32::

        passed == normed + scale * normed + shift, or without shift where there is none

    Args:
        block: the block.
        served: what :func:`read_inside` read.

    Returns:
        "block stream attn" or "block stream mlp" -> error, as of :func:`residual_errors`.
    """
    errors = {}
    for stream in tapped_streams(block):
        taps = block.layout.taps.get(stream, {})
        for part, modulated in block.layout.modulated.get(stream, {}).items():
            if f"{part}_scale" not in taps:  # then nothing is claimed
                continue
            normed = _float(block, modulated.normed, stream, served)
            terms = [normed, _float(block, taps[f"{part}_scale"], stream, served) * normed]
            if f"{part}_shift" in taps:
                terms.append(_float(block, taps[f"{part}_shift"], stream, served).expand_as(normed))
            passed = block.tapped(modulated.passed, stream, served[modulated.passed.hook_point])
            errors[f"{block.name} {stream} {part}"] = _error(terms, passed)
    return errors


def _taps(block: Block, stream: str) -> Iterator[Tap]:
    yield from block.layout.taps.get(stream, {}).values()
    for tap, gate in _terms(block, stream):
        yield tap
        if gate is not None:
            yield gate
    for modulated in block.layout.modulated.get(stream, {}).values():
        yield from (modulated.normed, modulated.passed)
    if stream in block.layout.attended:
        yield block.layout.attended[stream]


def _terms(block: Block, stream: str) -> list[Term]:
    """What a block adds to a stream."""
    taps = block.layout.taps.get(stream, {})
    named: list[Term] = [
        (taps[f"{part}_output"], taps[f"{part}_gate"]) for part in ("attn", "mlp") if f"{part}_output" in taps
    ]
    return named + [term for term in block.layout.also_added.get(stream, ()) if block.has(term[0])]


def _float(block: Block, tap: Tap, stream: str, served: Served) -> torch.Tensor:
    return block.tapped(tap, stream, served[tap.hook_point]).float()


def _submodule(module: torch.nn.Module, path: str) -> torch.nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


def _error(terms: list[torch.Tensor], value: torch.Tensor | None) -> float:
    if value is None or len({term.shape for term in (*terms, value)}) > 1:
        return float("inf")
    total, scale = terms[0], terms[0].abs()
    for term in terms[1:]:
        total, scale = total + term, scale + term.abs()
    worst = ((value.float() - total).abs() / scale.clamp(min=1e-30)).max()
    return float(worst) / torch.finfo(value.dtype).eps
