"""FLUX.1: dual-stream ("double") blocks, then single-stream ones that return both streams again.

Kontext's reference image adds tokens behind those of the generated image; they belong to no stream of the run.
A ControlNet adds its residuals between the blocks: a block's output is before, the next one's input after them.
"""

from __future__ import annotations

from ditscope.models.block_lists import dual_stream, fused
from ditscope.models.family import Family, Guidance

__all__ = ["FLUX"]

FLUX = Family(
    name="FLUX.1",
    pipelines=(
        *("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxFillPipeline"),
        *("FluxKontextPipeline", "FluxKontextInpaintPipeline"),
        *("FluxControlPipeline", "FluxControlImg2ImgPipeline", "FluxControlInpaintPipeline"),
        *("FluxControlNetPipeline", "FluxControlNetImg2ImgPipeline", "FluxControlNetInpaintPipeline"),
    ),
    transformer_class="FluxTransformer2DModel",
    block_lists=(
        dual_stream("transformer_blocks", "double", "FluxTransformerBlock"),
        fused("single_transformer_blocks", "FluxSingleTransformerBlock", apart=True, module="norm.linear"),
    ),
    # The scale of guidance-distilled checkpoints is embedded; de-distilled ones are guided by visits.
    guidance=Guidance(
        branches=("cond", "uncond"),
        scale="true_cfg_scale",
        negatives=(("negative_prompt",), ("negative_prompt_embeds", "negative_pooled_prompt_embeds")),
        embedded=True,
    ),
    timestep_argument="timestep",
    timestep_scale=1e-3,
    token_pixels=2,
    grid_argument="img_ids",
    text_encoders=("text_encoder_2",),
    examples=(
        "black-forest-labs/FLUX.1-dev",
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.1-Kontext-dev",
    ),
    refused=dict.fromkeys(
        ("VisualClozePipeline", "VisualClozeGenerationPipeline"), "a sample is a grid of several images"
    ),
)
