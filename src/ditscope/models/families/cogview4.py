"""CogView4: dual-stream blocks that return the image first, and run both streams through one MLP, image first."""

from __future__ import annotations

from ditscope.models.block_lists import dual_stream
from ditscope.models.family import Family, Guidance
from ditscope.models.hook_points import modulation

__all__ = ["COGVIEW4"]

COGVIEW4 = Family(
    name="CogView4",
    pipelines=("CogView4Pipeline",),
    transformer_class="CogView4Transformer2DModel",
    block_lists=(
        dual_stream(
            "transformer_blocks",
            "double",
            "CogView4TransformerBlock",
            image=modulation(module="norm1.linear", stride=2),
            text=modulation(module="norm1.linear", first=1, stride=2),
            attn="attn1",
            attn_norms=("norm1.norm", "norm1.norm_context"),
            mlps=("ff", "ff"),
            outputs=("image", "text"),
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
