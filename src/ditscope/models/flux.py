"""FLUX.1: dual-stream ("double") blocks, then single-stream ones that return both streams again."""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance

_INPUTS = {"image": "hidden_states", "text": "encoder_hidden_states"}

FLUX = Family(
    name="FLUX.1",
    pipelines=("FluxPipeline", "FluxImg2ImgPipeline"),
    transformer_class="FluxTransformer2DModel",
    block_lists=(
        BlockList("transformer_blocks", "double", "FluxTransformerBlock", _INPUTS, ("text", "image")),
        BlockList(
            "single_transformer_blocks", "single", "FluxSingleTransformerBlock", _INPUTS, ("text", "image")
        ),
    ),
    # The scale of guidance-distilled checkpoints is embedded and makes no visit of its own.
    guidance=Guidance(
        branches=("cond", "uncond"),
        scale="true_cfg_scale",
        negatives=(("negative_prompt",), ("negative_prompt_embeds", "negative_pooled_prompt_embeds")),
    ),
    timestep_argument="timestep",
    timestep_scale=1e-3,
    token_pixels=2,
    grid_argument="img_ids",
    examples=("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell"),
    checkpoint_notes="the embedded shapes pipeline: every check of `ditscope check`, on CPU",
)
