"""Qwen-Image: dual-stream blocks throughout; the text is as long as the prompt."""

from __future__ import annotations

from ditscope.models.block_lists import dual_stream
from ditscope.models.family import Family, Guidance
from ditscope.models.hook_points import modulation

__all__ = ["QWEN_IMAGE"]

QWEN_IMAGE = Family(
    name="Qwen-Image",
    pipelines=(
        *("QwenImagePipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline"),
        *("QwenImageEditPipeline", "QwenImageEditPlusPipeline"),
        "QwenImageControlNetPipeline",
    ),
    transformer_class="QwenImageTransformer2DModel",
    block_lists=(
        dual_stream(
            "transformer_blocks",
            "double",
            "QwenImageTransformerBlock",
            image=modulation(module="img_mod"),
            text=modulation(module="txt_mod"),
            attn_norms=("img_norm1", "txt_norm1"),
            mlps=("img_mlp", "txt_mlp"),
            mlp_norms=("img_norm2", "txt_norm2"),
        ),
    ),
    guidance=Guidance(
        branches=("cond", "uncond"),
        scale="true_cfg_scale",
        negatives=(("negative_prompt",), ("negative_prompt_embeds",)),
    ),
    timestep_argument="timestep",
    timestep_scale=1e-3,
    token_pixels=2,
    grid_argument="img_shapes",
    text_mask_argument="encoder_hidden_states_mask",
    text_length_varies=True,
    text_prefix="prompt_template_encode_start_idx",
    examples=("Qwen/Qwen-Image",),
    refused={"QwenImageLayeredPipeline": "a sample is several images, one a layer"},
)
