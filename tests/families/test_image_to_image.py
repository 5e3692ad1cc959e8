"""Image-to-image in all the ways of the other pipelines: checked, recorded, edited and resumed."""

from __future__ import annotations

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
from family_calls import IN_BOTH_WAYS, PROMPTS, SEEDS, guided
from pictures import picture
from support_table import OTHER_PIPELINES, TESTED, TESTED_IN_PART

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.models.families import known_families
from ditscope.tracing.run import run_traced

BRANCHES, GUIDED = ("cond", "uncond"), guided("flux")
N_STEPS, RUN = 4, (2, 3)  # half the strength runs half the steps


@pytest.fixture
def dit(opened_image_to_image, dtype):
    return opened_image_to_image(dtype)


@pytest.fixture
def call(square) -> dict:
    height, width = 16, 16 if square else 24
    return {
        "image": picture(height, width),
        "strength": 0.5,
        "num_inference_steps": N_STEPS,
        "max_sequence_length": 14,
        "height": height,
        "width": width,
    }


@IN_BOTH_WAYS
def test_every_claim_holds(dit, call) -> None:
    report = dit.check(PROMPTS[0], **call)
    assert report.ok, report
    assert "branches cond uncond" in str(report)


@IN_BOTH_WAYS
def test_what_is_recorded_is_what_plain_hooks_see(dit, dtype, call, tmp_path) -> None:
    with ds.record(dit, tmp_path / "a.zarr", streams=["image", "text"], batch_size=2) as rec:
        cache = rec.generate(PROMPTS, SEEDS, **call, **GUIDED)
    seen = plain_hooks.run(plain_hooks.opened(dit.name, dtype), "flux", PROMPTS, SEEDS * 2, **call, **GUIDED)
    assert np.array_equal(cache.images.values, seen.images)
    for stream in ("image", "text"):
        hidden = cache.hidden(stream).load()
        assert tuple(hidden["step"].values) == RUN
        assert tuple(hidden["branch"].values) == BRANCHES
        for number, step in enumerate(RUN):
            for branch in BRANCHES:
                visit, rows = plain_hooks.branch_rows("flux", True, number, branch, images=2)
                for block in range(len(dit.blocks)):
                    expected = seen.hidden[visit, block, stream][rows].float().numpy()
                    values = hidden.sel(step=step, branch=branch, block=block).values.astype(np.float32)
                    assert np.array_equal(values, expected), (stream, step, branch, block)
    grid = cache.hidden().attrs
    assert (grid["grid_height"], grid["grid_width"]) == (call["height"] // 4, call["width"] // 4)


@IN_BOTH_WAYS
def test_an_edit_of_one_branch_touches_only_its_visit(dit, dtype, call) -> None:
    edit = ds.edits.zero([3, 7], blocks=[2], branches=["uncond"], steps=[RUN[-1]])
    visitor = EditedVisit(dit, [edit], range(N_STEPS))
    images = run_traced(dit, [(PROMPTS[0], 3), (PROMPTS[1], 4)], visitor, **call, **GUIDED).images
    visitor.require_fired()
    chosen, _ = plain_hooks.branch_rows("flux", True, 1, "uncond", images=2)

    def zeroed(visit: int, hidden: torch.Tensor) -> torch.Tensor:
        if visit == chosen:
            hidden[:, :, [3, 7]] = 0
        return hidden

    pipeline = plain_hooks.opened(dit.name, dtype)
    edited, plain = (
        plain_hooks.run(pipeline, "flux", PROMPTS, [3, 4], edit=change, **call, **GUIDED)
        for change in ((2, zeroed), None)
    )
    assert np.array_equal(images, edited.images)
    assert not np.array_equal(images, plain.images)


@pytest.mark.parametrize(("dtype", "square"), [(torch.float32, False)], ids=["float32, not square"])
def test_a_broken_recording_resumes_to_the_same_store(dit, call, require_resumable) -> None:
    require_resumable(dit, **call, **GUIDED)


def test_the_table_of_support_names_the_tiny_pipelines_and_they_cover_every_class(
    opened, opened_image_to_image
) -> None:
    tested: dict[str, set[str]] = {"FLUX.1": {"flux-img2img"}}
    classes = {type(opened_image_to_image().diffusers_pipeline).__name__}
    for name, made in tiny.TINY.items():
        tested.setdefault(made.family, set()).add(name)
        classes.add(type(opened(name).diffusers_pipeline).__name__)
    assert {family: set(variants) for family, variants in TESTED.items()} == tested
    in_part = {*TESTED_IN_PART, *OTHER_PIPELINES}
    assert classes | in_part == {pipe for family in known_families() for pipe in family.pipelines}
    assert not classes & in_part
