"""What is trained: positions, tokens and text as the pipelines make them, and the velocity as they ask for it."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxPipeline

from ditscope.shapes.assembly import CALL, SANA_CALL, assemble, assemble_sana
from ditscope.shapes.networks import autoencoder, autoencoder_dc
from ditscope.shapes.training.generators import FluxGenerator, SanaGenerator, grid_ids

CAPTION = "a small red circle at the left and a small blue ring at the right on a plain white background"


def test_the_fine_grid_is_the_pipelines_and_a_coarse_token_lies_amid_four_fine_ones() -> None:
    fine, coarse = grid_ids(16), grid_ids(8)
    assert torch.equal(fine, FluxPipeline._prepare_latent_image_ids(1, 16, 16, "cpu", torch.float32))
    fours = fine.reshape(8, 2, 8, 2, 3).mean(dim=(1, 3))
    assert torch.equal(coarse, fours.reshape(64, 3))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["flux", "sana"])
def test_a_generator_sees_what_its_pipeline_hands_the_transformer(kind) -> None:
    """The velocity of each step, in the conditions of the pipeline's own call."""
    torch.manual_seed(0)
    if kind == "flux":
        model, call = FluxGenerator().eval(), CALL | {"true_cfg_scale": 1.0}
        pipeline = assemble(model, autoencoder())
    else:
        model, call = SanaGenerator().eval(), SANA_CALL | {"guidance_scale": 1.0}
        pipeline = assemble_sana(model, autoencoder_dc())
    for parameter in model.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    pipeline.set_progress_bar_config(disable=True)
    seen = []
    model.transformer.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((args, kwargs, output[0])), with_kwargs=True
    )
    call["num_inference_steps"] = 3
    pipeline(CAPTION, generator=torch.Generator().manual_seed(1), output_type="latent", **call)
    assert len(seen) == 3
    for (args, kwargs, velocity), sigma in zip(seen[:], pipeline.scheduler.sigmas, strict=False):
        latents = args[0] if args else kwargs["hidden_states"]
        told = kwargs["timestep"] / (1 if kind == "flux" else 1000)
        assert -1e-6 <= (sigma - told).item() <= 1e-3  # SANA's sampler leaves out what comes behind the point
        torch.testing.assert_close(model(latents, told, *model.text([CAPTION])), velocity)


def test_tokens_are_packed_as_the_pipeline_packs_them() -> None:
    latents = torch.randn(2, 4, 32, 32)
    assert torch.equal(FluxGenerator.tokens(latents), FluxPipeline._pack_latents(latents, 2, 4, 32, 32))
    assert SanaGenerator.tokens(latents) is latents


@pytest.mark.parametrize(("kind", "n_blocks"), [(FluxGenerator, 10), (SanaGenerator, 8)])
def test_blocks_are_all_that_the_transformer_has(kind, n_blocks) -> None:
    model = kind()
    assert len(model.blocks) == n_blocks
    below = {id(block) for block in model.blocks}
    lists = [part for part in model.transformer.children() if isinstance(part, torch.nn.ModuleList)]
    assert below == {id(block) for part in lists for block in part}
