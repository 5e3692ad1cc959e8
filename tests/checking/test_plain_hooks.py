"""What the check's plain hooks see, held to other plain hooks that know nothing of families."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

import bare_pipeline
from ditscope.checking.plain_hooks import CALLS_INSIDE, digest, image_tokens_of, run_plainly
from ditscope.models.families import FLUX
from ditscope.models.hook_points import HookPoint

PROMPT = "a small red circle at the left on a plain blue background"
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
INSIDE = {"transformer_blocks.1": [HookPoint("attn"), HookPoint("ff", "hidden_states")]}
NAMES = [f"transformer_blocks.{n}" for n in range(4)] + [f"single_transformer_blocks.{n}" for n in range(6)]


def test_a_digest_tells_bytes_shape_and_dtype_apart() -> None:
    values = torch.arange(6, dtype=torch.float32)
    assert (
        digest(values[:2]) == hashlib.sha256(b"(2,) torch.float32" + values[:2].numpy().tobytes()).hexdigest()
    )
    others = [values, values.reshape(2, 3), values.view(torch.int32), -values, values.to(torch.bfloat16)]
    assert len({digest(other) for other in others}) == len(others)
    assert digest(values.reshape(2, 3).T) == digest(values.reshape(2, 3).T.contiguous())
    assert digest((values, None)) == f"{digest(values)} "


@pytest.fixture(scope="module")
def both(untrained_folder):
    """A run, what other hooks saw at the blocks, and of one block: attention's outputs, what the MLP was passed."""
    pipeline = bare_pipeline.opened(untrained_folder)
    block, inside = pipeline.transformer.transformer_blocks[1], {"attn": [], "ff": []}
    handles = [
        block.attn.register_forward_hook(lambda module, args, output: inside["attn"].append(output)),
        block.ff.register_forward_pre_hook(lambda module, args: inside["ff"].append(args[0])),
    ]
    seen = bare_pipeline.generate(pipeline, [PROMPT], [3], **CALL)
    for handle in handles:
        handle.remove()
    call = {**CALL, "prompt": PROMPT, "generator": torch.Generator().manual_seed(3)}
    run = run_plainly(pipeline, FLUX, {name: INSIDE.get(name, []) for name in NAMES}, call)
    modules = list(pipeline.transformer.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    return run, seen, inside


def test_every_stream_of_every_call_is_seen_in_order(both) -> None:
    run, seen, _ = both
    assert run.order == NAMES * 4
    assert run.seen == {
        (NAMES[block], visit, site, stream): digest(tensor)
        for (visit, block, site, stream), tensor in seen.hidden.items()
    }
    assert np.array_equal(np.round(run.images * 255).astype(np.uint8), seen.images)


def test_visits_steps_and_what_the_transformer_is_passed(both) -> None:
    run, seen, _ = both
    assert run.text_inputs == [(digest(text[0]),) for text in seen.text]
    assert run.n_tokens == [(4 * 8, 24)] * 4
    assert (run.n_steps, run.n_given, run.n_registers) == (2, 4 * 8, 0)
    assert run.readouts == [digest(seen.hidden[visit, 9, "block_output", "image"]) for visit in range(4)]


def test_the_inside_of_a_block_is_seen_in_its_first_calls(both) -> None:
    run, _, inside = both
    attn, ff = INSIDE["transformer_blocks.1"]
    assert run.inside == {
        ("transformer_blocks.1", call): {
            attn: digest(inside["attn"][call]),
            ff: digest(inside["ff"][call]),
        }
        for call in range(CALLS_INSIDE)
    }
    assert list(run.inside["transformer_blocks.1", 0]) == [attn, ff]


def test_reference_images_and_planar_latents_are_counted_in_tokens(untrained_folder) -> None:
    transformer = bare_pipeline.opened(untrained_folder).transformer
    ids = torch.tensor([[0, 0, 0], [0, 0, 1], [1, 0, 0]])
    latents = torch.zeros(2, 3, 16)
    givens = ({}, {"img_ids": ids}, {"img_ids": ids[None]}, {"img_shapes": [[(1, 2, 1), (1, 1, 1)]]})
    assert [image_tokens_of(transformer, latents, given) for given in givens] == [3, 2, 2, 2]
    assert (
        image_tokens_of(transformer, torch.zeros(2, 4, 6, 8), {}) == 6 * 8
    )  # a patch of this one is one cell
