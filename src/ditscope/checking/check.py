"""Does this checkpoint behave as its family says? Verified on the checkpoint itself.

Every claim is compared with something that ditscope did not make: plain PyTorch hooks on the
pipeline, images of the bare pipeline, the pipeline's own step counter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ditscope.checking.block_equations import (
    hook_points,
    missing,
    sites_without_equation,
    streams_out_of_order,
)
from ditscope.checking.plain_hooks import CALLS_INSIDE, PlainRun, run_plainly
from ditscope.checking.report import CheckReport, Finding
from ditscope.checking.traced_reads import run_traced_reads, scaled_images
from ditscope.errors import UnsupportedError
from ditscope.models.hook_points import HookPoint
from ditscope.models.pipeline_call import generators
from ditscope.models.refusals import refuse_unmapped
from ditscope.models.versions import VERIFIED
from ditscope.models.visits import Schedule, Visit
from ditscope.tracing.run import check_call

if TYPE_CHECKING:
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT

_ROUNDINGS = 8
"""Roundings that an equation inside a block may be off by: those of its terms, products and sums."""

_PROMPT = "a small red circle at the left on a plain blue background"


def check_model(dit: DiT, prompt: str | None = None, **call: Any) -> CheckReport:
    """Verify a model in five short runs, guided where its family knows guidance.

    Args:
        dit: the model.
        prompt: what to generate; by default a neutral sentence.
        **call: pipeline arguments; two steps unless ``num_inference_steps`` is given.

    Raises:
        InputError: an argument that the pipeline does not have.
        UnsupportedError: the pipeline is in a state that breaks the mapping of visits, or both streams have
            as many tokens, so that plain hooks cannot tell one from the other.
        VisitError: the run makes other visits than its family describes.
    """
    check_call(dit, call)
    prompt = prompt or _PROMPT
    call = {**dit.call_defaults, "num_inference_steps": 2, **call}
    dit.before_run()
    refuse_unmapped(dit.run_state, call)  # the bare runs come first, and no trace refuses them
    guided = {**call, **_guidance(dit, call)}
    plain = {**call, **({dit.family.guidance.scale: 1.0} if dit.family.guidance.scale else {})}
    inside = {block.path.split(".transformer.", 1)[1]: hook_points(block) for block in dit.blocks}
    block_names = list(inside)

    def hooked(call: dict[str, Any]) -> PlainRun:
        return run_plainly(dit.diffusers_pipeline, dit.family, inside, _arguments(dit, prompt, call))

    def scaled(factor: float, stream: str = "image", blocks: Sequence[Block] = dit.blocks) -> np.ndarray:
        return scaled_images(dit, _arguments(dit, prompt, guided), factor, stream, blocks)

    present = _hook_points(dit)
    if not present.holds:  # then there is nothing to hang the hooks on
        return _report(dit, present)
    bare = hooked(guided)
    _require_distinct_streams(bare)
    order = _order(bare, block_names, [block.index for block in dit.blocks])
    if not order.holds:  # then no block can be read where it is thought to be
        return _report(dit, order)
    passed = [tuple(bare.inside.get((name, 0), ())) for name in block_names]
    present = _hook_points(dit, passed)
    if not present.holds:  # then the trace would wait for what never comes
        return _report(dit, order, present)
    bare_plain = hooked(plain)
    traced = run_traced_reads(dit, _arguments(dit, prompt, guided), passed)
    tensors = _tensors(bare, traced.digests, block_names, dit)
    read = (
        order,
        present,
        _covered(dit, passed),
        _clock(bare, traced.schedule, traced.visits),
        _branches(bare, bare_plain, traced.visits),
        tensors,
        _inside(bare, traced.inside, block_names, dit),
        *_readout(bare, traced.digests, dit),
        _rejoin(traced.rejoined),
        _same("the traced image equals the bare one", traced.images, bare.images),
    )
    if not tensors.holds:  # then an edit would not write where it is meant to
        return _report(dit, *read)
    no_op, zeroed = scaled(1.0), scaled(0.0)
    change = float(np.abs(zeroed - bare.images).max())
    return _report(
        dit,
        *read,
        *_equation("attention and MLP outputs, gated, add up to what each block adds", traced.residuals),
        *_equation("shift and scale make what attention and MLP are passed", traced.modulations),
        _same("a no-op edit of every block gives the same image", no_op, bare.images),
        Finding(
            "zeroing the image stream changes the image",
            change > 1e-3,
            f"largest difference {change:.3g} of 1",
        ),
        *_without_text(dit, scaled, bare.images),
    )


def _report(dit: DiT, *findings: Finding) -> CheckReport:
    versions = {name: version(name) for name in VERIFIED}
    return CheckReport(model=repr(dit), versions=versions, findings=findings)


def _require_distinct_streams(bare: PlainRun) -> None:
    for image_tokens, text_tokens in bare.n_tokens:
        if image_tokens == text_tokens + bare.n_registers:
            raise UnsupportedError(
                f"{image_tokens} image tokens and as many text tokens",
                "different numbers, by which plain hooks tell the streams apart",
                "Check at another height or width.",
            )


def _guidance(dit: DiT, call: dict[str, Any]) -> dict[str, Any]:
    """Arguments that switch guidance on, where the family knows it and the call leaves it off."""
    guidance, full_call = dit.family.guidance, dit.full_call(call)
    if guidance.scale is None or guidance.visited(full_call) == guidance.branches:
        return {}
    negative = {guidance.negatives[0][0]: ""} if guidance.negatives else {}
    switched = {guidance.scale: 2.0, **negative}
    return switched if guidance.visited({**full_call, **switched}) == guidance.branches else {}


def _arguments(dit: DiT, prompt: str, call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "prompt": prompt, "generator": generators(dit.diffusers_pipeline, [0])[0]}


def _order(bare: PlainRun, block_names: list[str], numbers: list[int]) -> Finding:
    n_visits = len(bare.text_inputs)
    right = bare.order == block_names * n_visits and numbers == list(range(len(block_names)))
    detail = f"{len(bare.order)} calls of {len(block_names)} blocks in {n_visits} visits"
    return Finding("blocks run in the order of dit.blocks, once a visit", right, detail)


def _clock(bare: PlainRun, schedule: Schedule, visited: list[Visit]) -> Finding:
    right = len(visited) == len(schedule) == len(bare.text_inputs) and bare.n_steps == len(schedule.steps)
    return Finding(
        "visits match the scheduler's and the pipeline's step clocks",
        right,
        f"{len(visited)} visits, {bare.n_steps} steps, branches {' '.join(schedule.branches)}",
    )


def _branches(bare: PlainRun, bare_plain: PlainRun, visited: list[Visit]) -> Finding:
    conditional = bare_plain.text_inputs[0]
    labelled = [branch == "cond" for visit in visited for branch in visit.branches]
    seen = [
        rows == conditional
        for text in bare.text_inputs
        for rows in (text[: len(conditional)], text[len(conditional) :])
        if rows
    ]
    return Finding(
        "the cond branch is the one that reads the prompt",
        labelled == seen,
        f"{sum(seen)} of {len(seen)} branches of visits read the prompt, {sum(labelled)} are labelled cond",
    )


def _tensors(bare: PlainRun, digests: dict, block_names: list[str], dit: DiT) -> Finding:
    wrong = [
        (dit.blocks[block].name, visit, site, stream)
        for (visit, block, site, stream), read in digests.items()
        if bare.seen.get((block_names[block], visit, site, stream)) != read
    ]
    detail = f"{len(digests) - len(wrong)} of {len(digests)} tensors bit-equal"
    if wrong:
        detail += f"; first difference at {wrong[0]}"
    return Finding("what a trace reads equals what plain hooks see", not wrong and bool(digests), detail)


def _hook_points(dit: DiT, passed: Sequence[Sequence[HookPoint]] | None = None) -> Finding:
    """Whether the blocks have the hook points of their sites and, once that is known, pass them in a run."""
    wanted = [(block, hook_points(block)) for block in dit.blocks]
    absent = [f"{block.name} has no {what}" for block, points in wanted for what in missing(block, points)]
    for (block, points), seen in zip(wanted, passed or (), strict=passed is not None):
        absent += [f"{block.name} does not call {point.module}" for point in set(points) - set(seen)]
    detail = "; ".join(absent[:3]) or f"{sum(len(points) for _, points in wanted)} hook points"
    return Finding("the hook points of the sites are in the blocks", not absent, detail)


def _covered(dit: DiT, passed: Sequence[Sequence[HookPoint]]) -> Finding:
    faults = [f"no equation has {site}" for block in dit.blocks for site in sites_without_equation(block)]
    for block, order in zip(dit.blocks, passed, strict=True):
        faults += [
            f"attention does not come before the MLP in {stream}"
            for stream in streams_out_of_order(block, order)
        ]
    sites = sum(len(taps) for block in dit.blocks for taps in block.layout.taps.values())
    return Finding(
        "every site is in an equation, attention before the MLP",
        not faults,
        "; ".join(faults[:3]) or f"{sites} sites",
    )


def _inside(
    bare: PlainRun, read: dict[tuple[int, int, HookPoint], str], block_names: list[str], dit: DiT
) -> Finding:
    expected = {
        (call, block.index, point): seen
        for block, name in zip(dit.blocks, block_names, strict=True)
        for call in range(CALLS_INSIDE)
        for point, seen in bare.inside.get((name, call), {}).items()
    }
    right = sum(read.get(key) == seen for key, seen in expected.items())
    return Finding(
        "what a trace reads inside the blocks equals what plain hooks see",
        right == len(read) == len(expected),
        f"{right} of {len(expected)} tensors bit-equal",
    )


def _readout(bare: PlainRun, digests: dict, dit: DiT) -> list[Finding]:
    """Where streams share a tensor, hooks cannot know them apart; what the output is made of shows which is which."""
    last = dit.blocks[-1]
    if dit.family.readout is None or not _shares(last):
        return []
    read = [digests.get((visit, last.index, "block_output", "image")) for visit in range(len(bare.readouts))]
    return [
        Finding(
            "the transformer makes its output from the last block's image stream",
            read == bare.readouts,
            f"{sum(a == b for a, b in zip(read, bare.readouts, strict=True))} of {len(read)} visits",
        )
    ]


def _shares(block: Block) -> bool:
    """Whether the block's streams share a tensor."""
    return block.layout.joined and len(block.layout.outputs) > 1


def _without_text(dit: DiT, scaled: Callable[..., np.ndarray], expected: np.ndarray) -> list[Finding]:
    """Where no module takes the image stream alone: what is made of the output shows which is the text."""
    last = dit.blocks[-1]
    if dit.family.readout is not None or not _shares(last):
        return []
    claim = "zeroing the text stream after the last block leaves the image as it is"
    return [_same(claim, scaled(0.0, "text", [last]), expected)]


def _rejoin(rejoined: list[bool]) -> Finding:
    return Finding(
        "the streams join to the block's own output",
        bool(rejoined) and all(rejoined),
        f"{sum(rejoined)} of {len(rejoined)} outputs",
    )


def _equation(claim: str, errors: dict[str, float]) -> list[Finding]:
    """Nothing where the family says nothing of what is inside its blocks."""
    if not errors:
        return []
    worst = max(errors, key=lambda where: np.nan_to_num(errors[where], nan=np.inf))
    detail = f"largest error {errors[worst]:.2g} roundings, {_ROUNDINGS} allowed, at {worst}"
    return [Finding(claim, errors[worst] <= _ROUNDINGS, detail)]


def _same(claim: str, images: np.ndarray, expected: np.ndarray) -> Finding:
    difference = float(np.abs(images - expected).max())
    return Finding(claim, difference == 0.0, f"largest difference {difference:.3g}")
