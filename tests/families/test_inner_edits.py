"""Edits inside the blocks give the very image that plain hooks on diffusers' own modules give."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import plain_hooks
import pytest
import tiny
from diffusers import DiffusionPipeline
from test_families import branches, guided, size
from test_sites import modules_of

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.tracing.run import run_traced

NAMES = ["flux", "qwen-image", "sd3.5-medium", "flux2-klein-base", "sana", "pixart-sigma"]
PLACES = [(name, *place) for name in NAMES for place in modules_of(name)]
CHANNELS, BLOCKS = [3, 7], [0, 1]
SAMPLES = [(tiny.PROMPTS[0], 3), (tiny.PROMPTS[1], 4)]
N_STEPS = 2


def call(name: str) -> dict[str, Any]:
    return {"num_inference_steps": N_STEPS, **size(name), **guided(name)}


def zeroed(output: Any, item: int | None, rows: slice) -> Any:
    """A module's output with some channels of some rows zero; a planar one is ``[row, channel, y, x]``."""
    tensor = (output if item is None else output[item]).clone()
    if tensor.ndim == 4:
        tensor[rows, CHANNELS] = 0
    else:
        tensor[rows, :, CHANNELS] = 0
    return tensor if item is None else (*output[:item], tensor, *output[item + 1 :])


def image_under_hooks(folder, name: str, module: str, item: int | None, acting: tuple[str, ...]):
    pipeline = DiffusionPipeline.from_pretrained(folder)
    rows_at = [
        plain_hooks.branch_rows(name, True, step, branch, images=len(SAMPLES))
        for step in range(N_STEPS)
        for branch in acting
    ]
    visits: list[None] = []

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        for visit, rows in rows_at:
            if visit == len(visits) - 1:
                output = zeroed(output, item, rows)
        return output

    # Before the hooks that watch, so that the first visit is counted when a block is reached.
    pipeline.transformer.register_forward_pre_hook(lambda *_: visits.append(None))
    for block in BLOCKS:
        plain_hooks.blocks_of(pipeline)[block].get_submodule(module).register_forward_hook(hook)
    prompts, seeds = map(list, zip(*SAMPLES, strict=True))
    return plain_hooks.run(pipeline, name, prompts, seeds, **{**tiny.TINY[name].call, **call(name)}).images


@pytest.fixture(scope="module")
def unedited(folder_of):
    """Name -> images of the bare pipeline."""
    prompts, seeds = map(list, zip(*SAMPLES, strict=True))
    return functools.cache(
        lambda name: (
            plain_hooks.generate(
                folder_of(name), name, prompts, seeds, **{**tiny.TINY[name].call, **call(name)}
            ).images
        )
    )


@pytest.mark.parametrize("acting", [("cond",), ("cond", "uncond")], ids=["cond", "both"])
@pytest.mark.parametrize(("name", "site", "stream"), PLACES)
def test_an_edit_inside_a_block_is_what_a_plain_hook_on_the_module_does(
    opened, folder_of, unedited, name, site, stream, acting
) -> None:
    assert branches(name) == ("cond", "uncond")
    dit = opened(name)
    edit = ds.edits.zero(CHANNELS, blocks=BLOCKS, branches=acting, stream=stream, site=site)
    visitor = EditedVisit(dit, [edit], N_STEPS)
    images = run_traced(dit, SAMPLES, visitor, **call(name)).images
    visitor.require_fired()
    module, item = modules_of(name)[site, stream]
    assert np.array_equal(images, image_under_hooks(folder_of(name), name, module, item, acting))
    assert not np.array_equal(images, unedited(name))
    fired = visitor.firings.table()
    assert set(fired["branch"]) == set(acting)
    assert len(fired) == N_STEPS * len(acting) * len(BLOCKS) * len(SAMPLES)
