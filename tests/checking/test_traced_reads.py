"""What a trace reads for the check, held to plain hooks on the bare pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bare_pipeline
from ditscope.checking.block_equations import hook_points
from ditscope.checking.plain_hooks import CALLS_INSIDE, digest, run_plainly
from ditscope.checking.traced_reads import run_traced_reads, scaled_images

PROMPT = "a small red circle at the left on a plain blue background"
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}


def call() -> dict:
    return {**CALL, "prompt": PROMPT, "generator": torch.Generator().manual_seed(3)}


@pytest.fixture(scope="module")
def both(dit, untrained_folder):
    pipeline = bare_pipeline.opened(untrained_folder)
    names = {block.path.split(".transformer.", 1)[1]: hook_points(block) for block in dit.blocks}
    plain = run_plainly(pipeline, dit.family, names, call())
    orders = [list(plain.inside[name, 0]) for name in names]
    return run_traced_reads(dit, call(), orders), plain, list(names)


def test_it_reads_what_plain_hooks_see_at_the_ends_and_inside(both, untrained_folder) -> None:
    traced, plain, names = both
    seen = bare_pipeline.generate(bare_pipeline.opened(untrained_folder), [PROMPT], [3], **CALL)
    assert traced.digests == {key: digest(tensor) for key, tensor in seen.hidden.items()}
    assert np.array_equal(np.round(traced.images * 255).astype(np.uint8), seen.images)
    assert traced.inside == {
        (visit, names.index(name), point): found
        for (name, visit), points in plain.inside.items()
        for point, found in points.items()
    }


def test_it_makes_the_visits_of_its_schedule_and_rejoins_every_output(both) -> None:
    traced, _, names = both
    assert [(visit.step, visit.branch) for visit in traced.visits] == [
        (step, branch) for step in range(2) for branch in ("cond", "uncond")
    ]
    assert len(traced.schedule) == 4
    assert traced.rejoined == [True] * 4 * len(names)


def test_equations_are_of_the_first_visits_and_hold_to_roundings(both) -> None:
    traced, _, _ = both
    for errors, n_double in ((traced.residuals, 2), (traced.modulations, 4)):
        assert len(errors) == CALLS_INSIDE * (4 * n_double + 6 * 2)
        assert {where.split(" in ")[1] for where in errors} == {"visit 0", "visit 1"}
        assert max(errors.values()) < 8


@pytest.mark.parametrize(("stream", "factor"), [("image", 0.5), ("text", 0.0), ("image", 1.0)])
def test_a_scaled_stream_is_scaled_where_it_leaves_the_named_blocks(
    dit, untrained_folder, stream, factor
) -> None:
    def scaled(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * factor if block in (1, 7) else tensor

    pipeline = bare_pipeline.opened(untrained_folder)
    edits = {("block_output", stream): scaled}
    expected = bare_pipeline.generate(pipeline, [PROMPT], [3], edits=edits, **CALL).images
    found = scaled_images(dit, call(), factor, stream, [dit.blocks[1], dit.blocks[7]])
    assert np.array_equal(np.round(found * 255).astype(np.uint8), expected)
