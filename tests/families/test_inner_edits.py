"""Edits inside the blocks give the very image that plain hooks on diffusers' own modules give."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import N_STEPS, SEEDS, batch, branches, call, size
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


@pytest.mark.parametrize("edit", [ds.edits.zero, ds.edits.mean])
def test_an_edit_of_the_text_leaves_padding_alone(opened, edit) -> None:
    """Texts of different lengths share a batch: each must be edited as it would be alone."""
    dit = opened("qwen-image")
    samples = [("a red star", 3), ("a small blue circle at the left on a plain red background", 4)]
    arguments = {**size("qwen-image"), "num_inference_steps": 1, "true_cfg_scale": 1.0}
    made = edit([3, 7], blocks=[1], stream="text")

    def run(chosen):
        visitor, texts, masks = EditedVisit(dit, [made], range(1)), [], []

        def at_visit(visit) -> None:
            texts.append(dit.blocks[1].read("block_output", "text").clone())
            masks.append(dit.run_state.inputs.text_mask)
            visitor.apply_at(visit, dit.blocks[1], "block_output", "text")
            texts.append(dit.blocks[1].read("block_output", "text").clone())

        run_traced(dit, chosen, at_visit, **arguments)
        return texts, masks[0], visitor.firings.table()

    (before, after), mask, table = run(samples)
    assert not mask.all()
    assert mask.any(dim=1).all()
    assert torch.equal(after[~mask], before[~mask])
    expected = before.clone()
    for row in range(2):
        own = before[row, mask[row]][:, [3, 7]].double()
        value = own.mean(0) if edit is ds.edits.mean else torch.zeros(2, dtype=torch.float64)
        expected[row, :, [3, 7]] = torch.where(mask[row][:, None], value.float(), before[row][:, [3, 7]])
    torch.testing.assert_close(after, expected)
    energy = [float(before[row, mask[row]].double().square().sum()) for row in range(2)]
    np.testing.assert_allclose(table["energy"], energy, rtol=1e-5)
    for row, sample in enumerate(samples):
        alone = run([sample])[2]
        for column in ("energy", "removed", "moved"):
            np.testing.assert_allclose(table[column][row], alone[column][0], rtol=1e-3)
