"""The equations of what is inside a block: their errors in numpy, and what they do not cover."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import bare_pipeline
from ditscope.checking import block_equations as equations
from ditscope.models.hook_points import HookPoint
from ditscope.tracing.run import run_traced

SAMPLE = [("a red circle", 3)]
CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}
EPS = np.finfo(np.float32).eps
DOUBLE, SINGLE = 1, 7


ORDER = [
    *("norm1.linear", "norm1.norm", "norm1_context.linear", "norm1_context.norm", "norm.linear", "norm.norm"),
    *("attn", "norm2", "ff", "norm2_context", "ff_context", "proj_out"),
]
"""Modules as FLUX.1's blocks pass them."""


def passed_in_order(block) -> list[HookPoint]:
    """A module takes its argument before it puts out."""
    points = equations.hook_points(block)
    return sorted(points, key=lambda point: (ORDER.index(point.module), not point.argument))


@dataclasses.dataclass
class Inside:
    """What one block was served in a run, and the errors that follow from it: of modulation, of the residual sum."""

    served: dict
    start: dict
    output: dict
    errors: tuple


@pytest.fixture(scope="module")
def inside(dit):
    """(Block, what is changed of what it is served) -> what follows."""
    found = {}

    def at_visit(_) -> None:
        for number in (DOUBLE, SINGLE):
            block = dit.blocks[number]
            start = {stream: block.read("block_input", stream).clone() for stream in ("image", "text")}
            honest = equations.read_inside(block, passed_in_order(block))
            changed = {
                "": honest,
                "larger": {point: larger(point, value) for point, value in honest.items()},
                "cut": {**honest, CUT: honest[CUT][:, 1:]} if CUT in honest else honest,
            }
            modulations = {how: equations.modulation_errors(block, each) for how, each in changed.items()}
            residuals = {how: equations.residual_errors(block, start, each) for how, each in changed.items()}
            output = {stream: block.read("block_output", stream).clone() for stream in start}
            for how, served in changed.items():
                found[number, how] = Inside(served, start, output, (modulations[how], residuals[how]))

    run_traced(dit, SAMPLE, at_visit, **CALL)
    return found


CUT = HookPoint("norm2")


def larger(point: HookPoint, value):
    """A fault in what attention, or a single block's projection, puts out."""
    if point.argument or point.module not in ("attn", "proj_out"):
        return value
    return tuple(part * 1.5 for part in value) if isinstance(value, tuple) else value * 1.5


def float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().numpy()


def worst(terms: list[np.ndarray], value: np.ndarray) -> float:
    """Largest difference in roundings, relative to the sum of magnitudes."""
    scale = sum(abs(term) for term in terms)
    return float((abs(value - sum(terms)) / scale).max() / EPS)


@pytest.mark.parametrize("number", [DOUBLE, SINGLE])
def test_what_is_read_adds_up_to_a_few_roundings_and_what_is_changed_does_not(inside, number) -> None:
    modulations, residuals = inside[number, ""].errors
    assert max([*modulations.values(), *residuals.values()]) < 8
    modulations, residuals = inside[number, "larger"].errors
    assert max(modulations.values()) < 8
    assert min(residuals.values()) > 1000


def test_the_residual_error_is_that_of_the_gated_sum(inside, dit) -> None:
    block = inside[DOUBLE, "larger"]
    for item, (stream, norm, ff) in enumerate(
        (("image", "norm1.linear", "ff"), ("text", "norm1_context.linear", "ff_context"))
    ):
        parts = float64(block.served[HookPoint(norm)]).reshape(1, 6, 1, dit.width)
        attn, mlp = float64(block.served[HookPoint("attn")][item]), float64(block.served[HookPoint(ff)])
        terms = [float64(block.start[stream]), parts[:, 2] * attn, parts[:, 5] * mlp]
        expected = worst(terms, float64(block.output[stream]))
        assert block.errors[1][f"double.1 {stream}"] == pytest.approx(expected, rel=1e-3)


def test_a_shape_that_does_not_fit_is_infinitely_wrong(inside) -> None:
    modulations, _ = inside[DOUBLE, "cut"].errors
    assert {where for where, error in modulations.items() if error > 8} == {"double.1 image mlp"}
    assert modulations["double.1 image mlp"] == float("inf")


def relabelled(dit, monkeypatch, number: int = DOUBLE, **changes):
    block = dit.blocks[number]
    monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, **changes))
    return block


def test_every_hook_point_of_flux_is_named_once_and_is_there(dit) -> None:
    for number, n_points in ((DOUBLE, 2 + 2 + 2 + 1 + 2 + 2 + 2), (SINGLE, 4)):
        points = equations.hook_points(dit.blocks[number])
        assert len(points) == len(set(points)) == n_points
        assert equations.missing(dit.blocks[number], points) == []


def test_a_submodule_or_an_argument_that_is_not_there_is_named(dit) -> None:
    wanted = [
        HookPoint("attn3"),
        HookPoint("attn", "states"),
        HookPoint("", "temb"),
        HookPoint("ff", "", 1, 2),
    ]
    assert equations.missing(dit.blocks[DOUBLE], wanted) == ["attn3", "attn(states=)"]


def test_sites_in_no_equation_are_named(dit, monkeypatch) -> None:
    assert [equations.sites_without_equation(block) for block in dit.blocks] == [[]] * 10
    block = relabelled(dit, monkeypatch, modulated={"text": dit.blocks[DOUBLE].layout.modulated["text"]})
    assert equations.sites_without_equation(block) == [
        f"{half}_{part} of the image stream of double.1"
        for half in ("attn", "mlp")
        for part in ("shift", "scale")
    ]
    single = relabelled(dit, monkeypatch, SINGLE, also_added={})
    assert equations.sites_without_equation(single) == [
        f"attn_gate of the {stream} stream of single.3" for stream in ("image", "text")
    ]


def test_attention_and_mlp_exchanged_are_out_of_order(dit, monkeypatch) -> None:
    block = dit.blocks[DOUBLE]
    order = passed_in_order(block)
    assert equations.streams_out_of_order(block, order) == []
    taps = dict(block.layout.taps["text"])
    taps["attn_output"], taps["mlp_output"] = taps["mlp_output"], taps["attn_output"]
    relabelled(dit, monkeypatch, taps={**block.layout.taps, "text": taps})
    assert equations.streams_out_of_order(block, order) == ["the text stream of double.1"]


def test_streams_that_a_block_does_not_return_are_left_out(dit, monkeypatch) -> None:
    assert equations.tapped_streams(dit.blocks[DOUBLE]) == ["image", "text"]
    assert equations.tapped_streams(relabelled(dit, monkeypatch, returned=("image",))) == ["image"]
