"""Grids and tokens that a call's own tensors tell, for each way in which families pass them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AuraFlowTransformer2DModel,
    FluxPipeline,
    Lumina2Transformer2DModel,
    QwenImageTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
)

from ditscope.errors import UnsupportedError
from ditscope.models.families import AURAFLOW, FLUX, LUMINA2, QWEN_IMAGE, SANA, SD3
from ditscope.models.transformer_inputs import TransformerInputs


def inputs_of(family: Any, transformer: type, *args: Any, **kwargs: Any) -> TransformerInputs:
    """Inputs of a transformer of real sizes, which has no weights."""
    with torch.device("meta"):
        return TransformerInputs(family, transformer(num_layers=1), (args, kwargs))


@pytest.mark.parametrize(
    ("family", "transformer"), [(SD3, SD3Transformer2DModel), (SANA, SanaTransformer2DModel)]
)
def test_planar_latents_are_cut_into_patches_as_a_loop_cuts_them(family, transformer) -> None:
    edge, latents = family.token_pixels, torch.randn(2, 3, 4, 6)
    inputs = inputs_of(family, transformer, latents)
    height, width = inputs.grid
    assert (height, width) == (4 // edge, 6 // edge)
    # A learned variance comes behind the channels of the latents.
    output = torch.cat([latents + 1, torch.full_like(latents, 99.0)], dim=1)
    for tensor, found in ((latents, inputs.latents), (output, inputs.as_tokens(output))):
        assert found.shape == (2, height * width, 3 * edge * edge)
        for row in range(2):
            for y in range(height):
                for x in range(width):
                    patch = tensor[row, :3, y * edge : (y + 1) * edge, x * edge : (x + 1) * edge]
                    assert torch.equal(found[row, y * width + x], patch.reshape(-1))
    assert inputs.reference_tokens == 0


@pytest.mark.parametrize("batched", [False, True])
def test_reference_images_lie_behind_the_generated_one_and_count_by_another_number(dit, batched) -> None:
    own = FluxPipeline._prepare_latent_image_ids(1, 2, 3, "cpu", torch.float32)
    reference = FluxPipeline._prepare_latent_image_ids(1, 5, 4, "cpu", torch.float32)
    reference[:, 0] = 1
    ids, hidden = torch.cat([own, reference]), torch.randn(2, 26, 16)
    call = {"hidden_states": hidden, "img_ids": ids[None].expand(2, -1, -1) if batched else ids}
    inputs = TransformerInputs(FLUX, dit.diffusers_pipeline.transformer, ((), call))
    assert inputs.grid == (2, 3)
    assert (inputs.image_tokens, inputs.reference_tokens) == (6, 20)
    assert torch.equal(inputs.latents, hidden[:, :6])
    assert torch.equal(inputs.as_tokens(hidden, 1), hidden[:, 6:])


def test_several_reference_images_follow_each_other(dit) -> None:
    sizes = [(2, 3), (5, 4), (1, 3), (3, 1)]
    grids = [FluxPipeline._prepare_latent_image_ids(1, *size, "cpu", torch.float32) for size in sizes]
    for number, ids in enumerate(grids):
        ids[:, 0] = 10 * number
    call = {"hidden_states": torch.randn(1, 32, 16), "img_ids": torch.cat(grids)}
    transformer = dit.diffusers_pipeline.transformer
    inputs = TransformerInputs(FLUX, transformer, ((), call))
    assert inputs.grids == tuple(sizes)
    assert [inputs.tokens_of(image) for image in range(4)] == [
        slice(0, 6),
        slice(6, 26),
        slice(26, 29),
        slice(29, 32),
    ]
    with pytest.raises(UnsupportedError, match="32 image tokens for images of 2 x 3, 5 x 4, 1 x 3"):
        _ = TransformerInputs(FLUX, transformer, ((), {**call, "img_ids": torch.cat(grids[:3])})).grids


@pytest.mark.parametrize("shapes", [[[(1, 2, 3)]], [[(1, 2, 3), (1, 5, 4)]] * 2, [(1, 2, 3)]])
def test_shapes_by_row_and_image_begin_with_the_generated_image(shapes) -> None:
    inputs = inputs_of(QWEN_IMAGE, QwenImageTransformer2DModel, torch.zeros(2, 26, 64), img_shapes=shapes)
    assert inputs.grid == (2, 3)
    assert inputs.reference_tokens == 20
    if shapes[-1] == [(1, 2, 3), (1, 5, 4)]:
        assert inputs.grids == ((2, 3), (5, 4))
        assert inputs.tokens_of(1) == slice(6, 26)


def test_arguments_by_position_are_those_by_name(dit) -> None:
    text, timestep = torch.zeros(2, 7, 8), torch.tensor([0.5, 0.25])
    ids = FluxPipeline._prepare_latent_image_ids(1, 2, 3, "cpu", torch.float32)
    named = {"encoder_hidden_states": text, "timestep": timestep, "img_ids": ids}
    args = (torch.zeros(2, 6, 16), text, None, timestep, ids)
    for raw in ((args[:1], named), (args, {}), ((), {"hidden_states": args[0], **named})):
        inputs = TransformerInputs(FLUX, dit.diffusers_pipeline.transformer, raw)
        assert (inputs.grid, inputs.text_tokens, inputs.text_mask) == ((2, 3), 7, None)
        assert torch.equal(inputs.timesteps, timestep)
        assert inputs["guidance"] is None


def test_padding_counts_only_where_it_goes_through_the_blocks() -> None:
    text, mask = torch.zeros(2, 5, 8), torch.tensor([[1, 1, 1, 0, 0]] * 2)
    kept = inputs_of(
        QWEN_IMAGE,
        QwenImageTransformer2DModel,
        encoder_hidden_states=text,
        encoder_hidden_states_mask=mask,
    )
    assert kept.text_tokens == 5
    assert torch.equal(kept.text_mask, mask.bool())
    taken_out = {"encoder_hidden_states": text, "encoder_attention_mask": mask}
    inputs = inputs_of(LUMINA2, Lumina2Transformer2DModel, **taken_out)
    assert (inputs.text_tokens, inputs.text_mask) == (3, None)
    mask[1, 3] = 1
    with pytest.raises(UnsupportedError, match="prompts of 3, 4 text tokens in one batch of Lumina2"):
        _ = inputs_of(LUMINA2, Lumina2Transformer2DModel, **taken_out).text_tokens


def test_registers_are_those_of_the_transformer_and_no_tokens_of_the_text() -> None:
    with torch.device("meta"):
        transformer = AuraFlowTransformer2DModel(num_mmdit_layers=1, num_single_dit_layers=1)
    inputs = TransformerInputs(
        AURAFLOW, transformer, ((torch.zeros(1, 4, 8, 12),), {"encoder_hidden_states": torch.zeros(1, 5, 8)})
    )
    assert (inputs.register_tokens, inputs.text_tokens, inputs.image_tokens) == (8, 5, 4 * 6)
    assert inputs_of(SD3, SD3Transformer2DModel).register_tokens == 0


def test_the_grid_of_the_visit_before_is_of_the_same_tensor_with_the_same_values(dit) -> None:
    ids = FluxPipeline._prepare_latent_image_ids(1, 2, 3, "cpu", torch.float32)
    transformer, before = dit.diffusers_pipeline.transformer, None
    other = FluxPipeline._prepare_latent_image_ids(1, 3, 2, "cpu", torch.float32)
    for given, grid in ((ids, (2, 3)), (ids, (2, 3)), (other, (3, 2)), (ids, (2, 3))):
        before = TransformerInputs(FLUX, transformer, ((), {"img_ids": given}), before)
        assert before.grid == grid
    ids.copy_(other)
    assert TransformerInputs(FLUX, transformer, ((), {"img_ids": ids}), before).grid == (3, 2)
