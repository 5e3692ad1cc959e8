"""Outputs of an earlier step are those that a plain hook on the module kept, whether branches go in turn or doubled."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import N_STEPS, SEEDS, batch, branches, call
from plain_modules import modules_of

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.tracing.run import run_traced

BLOCK, CHANNELS = 1, [3, 7]


@pytest.mark.parametrize("name", ["flux", "sd3.5-medium", "sana", "qwen-image"])
def test_an_output_that_is_reused_is_what_a_plain_hook_kept(opened, folder_of, plainly, name) -> None:
    module, item = modules_of(name)["attn_output", "image"]
    pipeline, kept, visits = plain_hooks.opened(folder_of(name)), {}, []
    at = {
        plain_hooks.branch_rows(name, True, step, branch, images=2)[0]: step
        for step in range(N_STEPS)
        for branch in branches(name)
    }
    per_step = len(at) // N_STEPS

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        visit = len(visits) - 1
        tensor: torch.Tensor = (output if item is None else output[item]).clone()
        if at[visit] == 0:
            kept[visit] = tensor.clone()
            return output
        if at[visit] == 1:
            tensor[:, :, CHANNELS] = kept[visit - per_step][:, :, CHANNELS]
        return tensor if item is None else (*output[:item], tensor, *output[item + 1 :])

    handles = [
        pipeline.transformer.register_forward_pre_hook(lambda *_: visits.append(None)),
        plain_hooks.blocks_of(pipeline)[BLOCK].get_submodule(module).register_forward_hook(hook),
    ]
    try:
        expected = plain_hooks.run(pipeline, name, batch(name), SEEDS * 2, **call(name)).images
    finally:
        for handle in handles:
            handle.remove()
    dit = opened(name)
    edit = ds.edits.reuse(CHANNELS, blocks=BLOCK, steps=[1], site="attn_output")
    visitor = EditedVisit(dit, [edit], range(N_STEPS))
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    images = run_traced(dit, samples, visitor, **call(name)).images
    visitor.require_fired()
    assert np.array_equal(images, expected)
    assert not np.array_equal(images, plainly(name)[0].images)
