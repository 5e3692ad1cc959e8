"""Qwen-Image: dual-stream blocks throughout; the text is as long as the prompt."""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

QWEN_IMAGE = Family(
    name="Qwen-Image",
    pipelines=("QwenImagePipeline",),
    transformer_class="QwenImageTransformer2DModel",
    block_lists=(
        BlockList(
            "transformer_blocks",
            "double",
            "QwenImageTransformerBlock",
            {"image": "hidden_states", "text": "encoder_hidden_states"},
            ("text", "image"),
            taps={
                "image": {
                    **modulation(module="img_mod"),
                    "attn_output": Tap("attn", item=0),
                    "mlp_output": Tap("img_mlp"),
                },
                "text": {
                    **modulation(module="txt_mod"),
                    "attn_output": Tap("attn", item=1),
                    "mlp_output": Tap("txt_mlp"),
                },
            },
            modulated={
                "image": {
                    "attn": Modulated(Tap("img_norm1"), Tap("attn", "hidden_states")),
                    "mlp": Modulated(Tap("img_norm2"), Tap("img_mlp", "hidden_states")),
                },
                "text": {
                    "attn": Modulated(Tap("txt_norm1"), Tap("attn", "encoder_hidden_states")),
                    "mlp": Modulated(Tap("txt_norm2"), Tap("txt_mlp", "hidden_states")),
                },
            },
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
    examples=("Qwen/Qwen-Image",),
)
