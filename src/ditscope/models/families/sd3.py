"""Stable Diffusion 3 and 3.5: dual-stream blocks on a doubled batch; the last returns no text."""

from __future__ import annotations

from ditscope.models.block_lists import dual_stream
from ditscope.models.family import Family, Guidance
from ditscope.models.hook_points import Tap

__all__ = ["SD3"]

# SD3.5-medium's first blocks have a second attention of the image with itself, with a gate of its own.
_SECOND_ATTENTION = (Tap("attn2"), Tap("norm1.linear", part=8))

SD3 = Family(
    name="SD3",
    pipelines=(
        *("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
        "StableDiffusion3PAGPipeline",
    ),
    transformer_class="SD3Transformer2DModel",
    block_lists=(
        dual_stream(
            "transformer_blocks",
            "joint",
            "JointTransformerBlock",
            dropped=("text",),
            also_added={"image": (_SECOND_ATTENTION,)},
        ),
    ),
    guidance=Guidance(branches=("uncond", "cond"), scale="guidance_scale", doubled=True),
    timestep_argument="timestep",
    timestep_scale=1.0,
    token_pixels=2,
    grid_argument="hidden_states",
    text_encoders=("text_encoder", "text_encoder_3"),
    text_before=77,  # of CLIP, before those of T5
    examples=(
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "stabilityai/stable-diffusion-3.5-medium",
        "stabilityai/stable-diffusion-3.5-large",
    ),
)
