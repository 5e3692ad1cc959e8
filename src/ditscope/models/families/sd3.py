"""Stable Diffusion 3 and 3.5: dual-stream blocks on a doubled batch; the last returns no text."""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

# SD3.5-medium's first blocks have a second attention of the image with itself, with a gate of its own.
_SECOND_ATTENTION = (Tap("attn2"), Tap("norm1.linear", part=8))

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
            taps={
                "image": {
                    **modulation(module="norm1.linear"),
                    "attn_output": Tap("attn", item=0),
                    "mlp_output": Tap("ff"),
                },
                "text": {
                    **modulation(module="norm1_context.linear"),
                    "attn_output": Tap("attn", item=1),
                    "mlp_output": Tap("ff_context"),
                },
            },
            also_added={"image": (_SECOND_ATTENTION,)},
            modulated={
                "image": {
                    "attn": Modulated(Tap("norm1.norm"), Tap("attn", "hidden_states")),
                    "mlp": Modulated(Tap("norm2"), Tap("ff", "hidden_states")),
                },
                "text": {
                    "attn": Modulated(Tap("norm1_context.norm"), Tap("attn", "encoder_hidden_states")),
                    "mlp": Modulated(Tap("norm2_context"), Tap("ff_context", "hidden_states")),
                },
            },
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
