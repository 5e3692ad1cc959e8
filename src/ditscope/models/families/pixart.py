"""PixArt-Sigma: image stream only, text by cross-attention, a doubled batch, a learned variance."""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

PIXART_SIGMA = Family(
    name="PixArt-Sigma",
    pipelines=("PixArtSigmaPipeline",),
    transformer_class="PixArtTransformer2DModel",
    block_lists=(
        BlockList(
            "transformer_blocks",
            "cross",
            "BasicTransformerBlock",
            {"image": "hidden_states"},
            ("image",),
            joined=True,
            taps={
                "image": {
                    **modulation(argument="timestep", table="scale_shift_table"),
                    "attn_output": Tap("attn1"),
                    "mlp_output": Tap("ff"),
                }
            },
            also_added={"image": ((Tap("attn2"), None),)},  # cross-attention has no gate
            modulated={
                "image": {
                    "attn": Modulated(Tap("norm1"), Tap("attn1", "hidden_states")),
                    "mlp": Modulated(Tap("norm2"), Tap("ff", "hidden_states")),
                }
            },
        ),
    ),
    guidance=Guidance(branches=("uncond", "cond"), scale="guidance_scale", doubled=True),
    timestep_argument="timestep",
    timestep_scale=1.0,
    token_pixels=2,
    grid_argument="hidden_states",
    nominal_cell=8,
    examples=("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",),
)
