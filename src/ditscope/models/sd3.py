"""Stable Diffusion 3 and 3.5: dual-stream blocks on a doubled batch; the last returns no text."""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance

SD3 = Family(
    name="SD3",
    pipelines=("StableDiffusion3Pipeline",),
    transformer_class="SD3Transformer2DModel",
    block_lists=(
        BlockList(
            "transformer_blocks",
            "joint",
            "JointTransformerBlock",
            {"image": "hidden_states", "text": "encoder_hidden_states"},
            ("text", "image"),
            dropped=("text",),
        ),
    ),
    guidance=Guidance(branches=("uncond", "cond"), scale="guidance_scale", doubled=True),
    timestep_argument="timestep",
    timestep_scale=1.0,
    token_pixels=2,
    grid_argument="hidden_states",
    examples=(
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "stabilityai/stable-diffusion-3.5-medium",
        "stabilityai/stable-diffusion-3.5-large",
    ),
)
