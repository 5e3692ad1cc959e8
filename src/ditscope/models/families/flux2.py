"""FLUX.2 klein: dual-stream blocks, then single-stream ones that carry text and image in one tensor.

Reference images add tokens behind those of the generated image; they belong to no stream of the run.
"""

from __future__ import annotations

from ditscope.models.block_lists import dual_stream, fused
from ditscope.models.family import Family, Guidance
from ditscope.models.hook_points import modulation

__all__ = ["FLUX2_KLEIN"]

FLUX2_KLEIN = Family(
    name="FLUX.2 klein",
    pipelines=("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
    transformer_class="Flux2Transformer2DModel",
    block_lists=(
        dual_stream(
            "transformer_blocks",
            "double",
            "Flux2TransformerBlock",
            # All double blocks share their modulation, and all single blocks; it is passed to them.
            image=modulation(argument="temb_mod_img"),
            text=modulation(argument="temb_mod_txt"),
            attn_norms=("norm1", "norm1_context"),
            mlp_argument="x",
        ),
        fused(
            "single_transformer_blocks",
            "Flux2SingleTransformerBlock",
            added="attn",
            norm="norm",
            argument="temb_mod",
        ),
    ),
    # The empty negative prompt is the pipeline's own.
    guidance=Guidance(branches=("cond", "uncond"), scale="guidance_scale", unless="is_distilled"),
    timestep_argument="timestep",
    timestep_scale=1e-3,
    token_pixels=2,
    grid_argument="img_ids",
    examples=(
        "black-forest-labs/FLUX.2-klein-4B",
        "black-forest-labs/FLUX.2-klein-9B",
        "black-forest-labs/FLUX.2-klein-base-4B",
        "black-forest-labs/FLUX.2-klein-base-9B",
    ),
    refused={
        "Flux2KleinKVPipeline": "tokens of reference images go before the image's, in the first step alone"
    },
)
