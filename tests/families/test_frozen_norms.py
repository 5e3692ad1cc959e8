"""An edit with the LayerNorm frozen gives the very image that plain hooks on that LayerNorm give, on every family."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import N_STEPS, ONE_OF_EACH_FAMILY, SEEDS, batch, call

import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.errors import InputError, UnsupportedError
from ditscope.tracing.run import run_traced

CHANNELS = [3, 7]
FIRST_NORM = {
    **dict.fromkeys(("flux", "flux-embedded", "chroma", "sd3", "auraflow", "lumina2"), "norm1.norm"),
    **dict.fromkeys(("flux2-klein-base", "flux2-klein", "flux2-dev", "sana", "pixart-sigma"), "norm1"),
    "qwen-image": "img_norm1",
    "cogview4": "norm1.norm",
    "sd3.5-medium": "norm1.norm",
}
LAST_NORM = {"sana": "norm_out.norm", "pixart-sigma": "norm_out", "auraflow": None, "lumina2": None}


def image_under_hooks(folder, name: str, dtype: torch.dtype, at_the_end: bool) -> np.ndarray:
    """Zero channels after the first block and perhaps the last, the next normalisation keeping its statistics."""
    pipeline = plain_hooks.opened(folder, dtype)
    blocks, before = plain_hooks.blocks_of(pipeline), {}
    text_tokens: list[int] = []

    def note(_module: Any, _args: Any, kwargs: Any) -> None:
        mask = (
            kwargs["encoder_attention_mask"] if name == "lumina2" else kwargs["encoder_hidden_states"][..., 0]
        )
        text_tokens.append(int(mask.sum(1).max()) if name == "lumina2" else mask.shape[1])

    def edit(number: int):
        def hook(_module: Any, _args: Any, output: Any) -> Any:
            joined = not isinstance(output, tuple)
            place = 0 if name in plain_hooks.IMAGE_FIRST else 1
            image = output if joined else output[place]
            start = 0
            if joined and name not in plain_hooks.IMAGE_ONLY:
                start = text_tokens[-1] + plain_hooks.REGISTERS.get(name, 0)
            before[number] = image.clone()
            new = image.clone()
            new[:, start:, CHANNELS] = 0
            return new if joined else (*output[:place], new, *output[place + 1 :])

        return hook

    def freeze(number: int):
        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            edited = args[0]
            # An image stream may be read with the text before it, or without what came before it.
            old = edited.clone()
            n_tokens = min(edited.shape[1], before[number].shape[1])
            old[:, -n_tokens:] = before[number][:, -n_tokens:]
            held[number] = (old, edited)
            return (old, *args[1:]), kwargs

        return hook

    held: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def shift(number: int):
        def hook(module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
            old, edited = held[number]
            values, weight = old.float(), getattr(module, "weight", None)
            if isinstance(module, torch.nn.LayerNorm):
                middle, square = values.mean(-1, keepdim=True), values.var(-1, correction=0, keepdim=True)
            else:
                middle, square = 0.0, values.square().mean(-1, keepdim=True)
            over = torch.rsqrt(square + module.eps)
            by = 1.0 if weight is None else weight.float()
            result = (output.float() + (edited.float() - old.float()) * over * by).to(output.dtype)
            # What freezing means: the edited values, by the mean and deviation of the unedited ones.
            bias = 0.0 if getattr(module, "bias", None) is None else module.bias.float()
            meant = (edited.float() - middle) * over * by + bias
            assert torch.allclose(
                result.float(), meant, rtol=2e-2, atol=1e-4 if dtype == torch.float32 else 5e-2
            )
            return result

        return hook

    handles = [pipeline.transformer.register_forward_pre_hook(note, with_kwargs=True)]
    last = len(blocks) - 1
    for number in [0, last] if at_the_end else [0]:
        handles.append(blocks[number].register_forward_hook(edit(number)))
        if number == last:
            norm = pipeline.transformer.get_submodule(LAST_NORM.get(name, "norm_out.norm"))
        else:
            norm = blocks[1].get_submodule(FIRST_NORM[name])
        handles.append(norm.register_forward_pre_hook(freeze(number), with_kwargs=True))
        handles.append(norm.register_forward_hook(shift(number)))
    try:
        return plain_hooks.run(pipeline, name, batch(name), SEEDS * 2, **call(name)).images
    finally:
        for handle in handles:
            handle.remove()


def edited(dit, name: str, **scope: Any) -> np.ndarray:
    visitor = EditedVisit(dit, [ds.edits.zero(CHANNELS, **scope)], range(N_STEPS))
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    return run_traced(dit, samples, visitor, **call(name)).images


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_freezing_is_what_a_plain_hook_on_the_norm_does(opened, folder_of, name, dtype) -> None:
    dit = opened(name, dtype)
    at_the_end = LAST_NORM.get(name, "") is not None
    blocks = [0, len(dit.blocks) - 1] if at_the_end else [0]
    images = edited(dit, name, blocks=blocks, freeze_layernorm=True)
    assert np.array_equal(images, image_under_hooks(folder_of(name), name, dtype, at_the_end))
    assert not np.array_equal(images, edited(dit, name, blocks=blocks))


@pytest.mark.parametrize("name", ["flux", "flux2-klein-base", "lumina2", "sana"])
def test_an_edit_that_changes_nothing_changes_nothing_with_norms_frozen(opened, plainly, name) -> None:
    """Both streams, at both ends, wherever a norm can be frozen."""
    dit, edits = opened(name), []
    for stream in dit.blocks[0].layout.streams("block_output"):
        blocks = list(range(1, len(dit.blocks) - 1)) or [0]
        edits.append(ds.edits.scale([1, 2], 1.0, stream=stream, blocks=blocks, freeze_layernorm=True))
        edits.append(
            ds.edits.scale([1, 2], 1.0, stream=stream, blocks=0, site="block_input", freeze_layernorm=True)
        )
    visitor = EditedVisit(dit, edits, range(N_STEPS))
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    assert np.array_equal(run_traced(dit, samples, visitor, **call(name)).images, plainly(name)[0].images)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("auraflow", {"blocks": -1}),  # its readout has no LayerNorm
        ("lumina2", {"blocks": -1}),
        ("flux", {"blocks": -1, "stream": "text"}),
    ],
)
def test_what_no_norm_reads_is_refused_by_name(opened, name, scope) -> None:
    dit = opened(name)
    with pytest.raises(UnsupportedError, match=dit.blocks[-1].name):
        EditedVisit(dit, [ds.edits.zero([1], freeze_layernorm=True, **scope)], range(N_STEPS))


def test_edits_that_do_and_do_not_freeze_one_norm_are_refused(opened) -> None:
    dit = opened("flux")
    frozen = ds.edits.zero([1], blocks=0, freeze_layernorm=True)
    for other in (
        ds.edits.zero([2], blocks=0),
        ds.edits.zero([2], blocks=1, site="block_input"),
        ds.edits.zero([2], blocks=1, site="attn_gate"),
    ):
        with pytest.raises(InputError, match="block 1"):
            EditedVisit(dit, [frozen, other], range(N_STEPS))
    EditedVisit(dit, [frozen, ds.edits.zero([2], blocks=2)], range(N_STEPS))
