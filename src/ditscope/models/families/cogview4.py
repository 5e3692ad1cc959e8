"""CogView4: dual-stream blocks that return the image first, and run both streams through one MLP, image first."""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

COGVIEW4 = Family(
    name="CogView4",
    pipelines=("CogView4Pipeline",),
    transformer_class="CogView4Transformer2DModel",
    block_lists=(
        BlockList(
            "transformer_blocks",
            "double",
            "CogView4TransformerBlock",
            {"image": "hidden_states", "text": "encoder_hidden_states"},
            ("image", "text"),
            taps={
                "image": {
                    **modulation(module="norm1.linear", stride=2),
                    "attn_output": Tap("attn1", item=0),
                    "mlp_output": Tap("ff", call=(0, 2)),
                },
                "text": {
                    **modulation(module="norm1.linear", first=1, stride=2),
                    "attn_output": Tap("attn1", item=1),
                    "mlp_output": Tap("ff", call=(1, 2)),
                },
            },
            modulated={
                "image": {
                    "attn": Modulated(Tap("norm1.norm"), Tap("attn1", "hidden_states")),
                    "mlp": Modulated(Tap("norm2"), Tap("ff", "hidden_states", call=(0, 2))),
                },
                "text": {
                    "attn": Modulated(Tap("norm1.norm_context"), Tap("attn1", "encoder_hidden_states")),
                    "mlp": Modulated(Tap("norm2_context"), Tap("ff", "hidden_states", call=(1, 2))),
                },
            },
        ),
    ),
    # The empty negative prompt is the pipeline's own.
    guidance=Guidance(branches=("cond", "uncond"), scale="guidance_scale"),
    timestep_argument="timestep",
    timestep_scale=1.0,
    token_pixels=2,
    grid_argument="hidden_states",
    text_length_varies=True,
    size_step=16,
    examples=("zai-org/CogView4-6B",),
)
