"""FLUX.1: dual-stream ("double") blocks, then single-stream ones that return both streams again.

Kontext's reference image adds tokens behind those of the generated image; they belong to no stream.
"""

from __future__ import annotations

from ditscope.models.block_lists import dual_stream, fused
from ditscope.models.family import Family, Guidance

__all__ = ["FLUX"]

FLUX = Family(
    name="FLUX.1",
    pipelines=("FluxPipeline", "FluxImg2ImgPipeline", "FluxKontextPipeline"),
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
    examples=(
        "black-forest-labs/FLUX.1-dev",
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.1-Kontext-dev",
    ),
)
