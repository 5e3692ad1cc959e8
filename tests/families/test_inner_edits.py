"""Edits inside the blocks give the very image that plain hooks on diffusers' own modules give."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_hooks
import pytest
from family_calls import N_STEPS, SEEDS, batch, branches, call
from plain_modules import modules_of

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.tracing.run import run_traced

NAMES = ["flux", "qwen-image", "sd3.5-medium", "flux2-klein-base", "sana", "pixart-sigma"]
PLACES = [(name, *place) for name in NAMES for place in modules_of(name)]
CHANNELS, BLOCKS = [3, 7], [0, 1]


def zeroed(output: Any, item: int | None, rows: slice) -> Any:
    """A module's output with some channels of some rows zero; a planar one is ``[row, channel, y, x]``."""
    tensor = (output if item is None else output[item]).clone()
    if tensor.ndim == 4:
        tensor[rows, CHANNELS] = 0
    else:
        tensor[rows, :, CHANNELS] = 0
    return tensor if item is None else (*output[:item], tensor, *output[item + 1 :])


def image_under_hooks(
    folder, name: str, module: str, item: int | None, acting: tuple[str, ...]
) -> np.ndarray:
    pipeline = plain_hooks.opened(folder)
    rows_at = [
        plain_hooks.branch_rows(name, True, step, branch, images=2)
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
    handles = [pipeline.transformer.register_forward_pre_hook(lambda *_: visits.append(None))]
    for block in BLOCKS:
        edited = plain_hooks.blocks_of(pipeline)[block].get_submodule(module)
        handles.append(edited.register_forward_hook(hook))
    try:
        return plain_hooks.run(pipeline, name, batch(name), SEEDS * 2, **call(name)).images
    finally:
        for handle in handles:
            handle.remove()


def require_the_edit_of_a_plain_hook(opened, folder_of, plainly, name, site, stream, acting) -> None:
    assert branches(name) == ("cond", "uncond")
    dit = opened(name)
    edit = ds.edits.zero(CHANNELS, blocks=BLOCKS, branches=acting, stream=stream, site=site)
    visitor = EditedVisit(dit, [edit], range(N_STEPS))
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    images = run_traced(dit, samples, visitor, **call(name)).images
    visitor.require_fired()
    module, item = modules_of(name)[site, stream]
    assert np.array_equal(images, image_under_hooks(folder_of(name), name, module, item, acting))
    assert not np.array_equal(images, plainly(name)[0].images)
    fired = visitor.firings.table()
    assert set(fired["branch"]) == set(acting)
    assert len(fired) == N_STEPS * len(acting) * len(BLOCKS) * len(samples)


@pytest.mark.parametrize(("name", "site", "stream"), PLACES)
def test_an_edit_inside_a_block_is_what_a_plain_hook_on_the_module_does(
    opened, folder_of, plainly, name, site, stream
) -> None:
    require_the_edit_of_a_plain_hook(opened, folder_of, plainly, name, site, stream, ("cond",))


@pytest.mark.parametrize("name", ["flux", "sd3.5-medium"])
def test_an_edit_of_both_branches_is_in_both_visits_or_halves(opened, folder_of, plainly, name) -> None:
    require_the_edit_of_a_plain_hook(
        opened, folder_of, plainly, name, "attn_output", "image", ("cond", "uncond")
    )
