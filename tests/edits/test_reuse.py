"""What an earlier step computed, against plain hooks that keep it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from edited_samples import CALL, PROMPTS, SEEDS

import bare_pipeline
import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.errors import InputError
from ditscope.tracing.run import run_traced

IDS, BLOCK = [3, 77, 120], 6
FOUR = {**CALL, "num_inference_steps": 4}  # visits 0 to 7: cond and uncond in turn
SAMPLES = list(zip(PROMPTS, SEEDS, strict=True))


def kept_by_hooks(bare, steps: Sequence[int], stream: str, ids: Sequence[int], site: str) -> np.ndarray:
    """Images of a run in which hooks keep what a block added, or took, in the last step that is not of ``steps``."""
    taken: dict[int, torch.Tensor] = {}
    kept: dict[int, torch.Tensor] = {}

    def before(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        taken[block] = tensor.clone()
        return tensor

    def after(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if block != BLOCK:
            return tensor
        start = taken[block] if site == "block_output" else torch.zeros_like(tensor)
        if visit // 2 not in steps:
            kept[visit % 2] = tensor - start
            return tensor
        edited = tensor.clone()
        edited[:, :, ids] = (start + kept[visit % 2])[:, :, ids]
        return edited

    hooks = {(site, stream): after} | ({("block_input", stream): before} if site == "block_output" else {})
    return bare_pipeline.generate(bare, PROMPTS, SEEDS, edits=hooks, **FOUR).images


@pytest.mark.parametrize(
    ("steps", "stream", "ids", "site"),
    [
        ([1, 3], "image", range(128), "block_output"),
        ([2, 3], "image", IDS, "block_output"),
        ([1, 2], "text", range(128), "block_output"),
        ([3], "image", IDS, "block_input"),
    ],
)
def test_reuse_is_what_hooks_that_keep_it_do(dit, bare, steps, stream, ids, site) -> None:
    expected = kept_by_hooks(bare, steps, stream, list(ids), site)
    edit = ds.edits.reuse(list(ids), blocks=BLOCK, steps=steps, stream=stream, site=site)
    visitor = EditedVisit(dit, [edit], range(4))
    images = run_traced(dit, SAMPLES, visitor, **FOUR).images
    assert np.array_equal(images, expected)
    table = visitor.firings.table()
    assert sorted(set(table["step"])) == steps
    assert set(table["block"]) == {BLOCK}
    assert (table["moved"] > 0).all()


def test_a_sweep_that_begins_with_the_unedited_run_is_the_same(dit, bare) -> None:
    """Steps and blocks before those that are read are not computed; several edits may share a forward pass."""
    grid = ds.grid(
        lambda step: {
            "reuse": ds.edits.reuse(blocks=BLOCK, steps=[step]),
            "its massive channels": ds.edits.reuse(IDS, blocks=BLOCK, steps=[step]),
        },
        step=[2, 3],
    )
    result = ds.sweep(dit, PROMPTS[:1], SEEDS[0], grid, ["psnr"], **FOUR)
    assert result.attrs["replay"] == "from the edited block"
    for step in (2, 3):
        for number, ids in enumerate((list(range(128)), IDS)):
            visitor = EditedVisit(dit, [ds.edits.reuse(ids, blocks=BLOCK, steps=[step])], range(4))
            alone = run_traced(dit, SAMPLES[:1], visitor, **FOUR).images
            assert np.array_equal(result["images"].sel(step=step).isel(edit=number).values[0], alone)
    together = ds.sweep(dit, PROMPTS[:1], SEEDS[0], grid, ["psnr"], edits_per_forward=2, **FOUR)
    assert np.allclose(together["mean"], result["mean"], atol=0.05)


def test_reuse_needs_an_earlier_step(dit) -> None:
    for where in ({}, {"sigmas": (0.0, 0.5)}):
        with pytest.raises(InputError, match="steps that follow one in which all is computed"):
            ds.edits.reuse(**where)
    with pytest.raises(InputError, match=r"in step 0, the first.*Begin at step 1"):
        EditedVisit(dit, [ds.edits.reuse(steps=[0, 2])], range(4))


def test_a_step_that_is_run_again_by_itself_has_no_earlier_one(dit) -> None:
    edit = ds.edits.reuse(steps=[1], blocks=BLOCK)
    with pytest.raises(InputError, match="run again by itself"):
        ds.attribution(
            dit, PROMPTS[:1], 0, lambda output, latents, visit: output.mean(dim=(1, 2)), edit, **CALL
        )
    with ds.guidance.from_edits(edit, 1.0), pytest.raises(InputError, match="run again by itself"):
        dit.generate_images(PROMPTS[:1], 0, **CALL)


def test_the_label_says_what_is_reused() -> None:
    assert ds.edits.reuse(IDS, steps=[1]).label == "reuse explicit channels"
