"""SANA: image stream only, text by cross-attention, linear self-attention, a doubled batch."""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

SANA = Family(
    name="SANA",
    pipelines=("SanaPipeline",),
    transformer_class="SanaTransformer2DModel",
    block_lists=(
        BlockList(
            "transformer_blocks",
            "cross",
            "SanaTransformerBlock",
            {"image": "hidden_states"},
            ("image",),
            joined=True,
            taps={
                "image": {
                    **modulation(argument="timestep", table="scale_shift_table"),
                    "attn_output": Tap("attn1"),
                    "mlp_output": Tap("ff", planar=True),
                }
            },
            also_added={"image": ((Tap("attn2"), None),)},  # cross-attention has no gate
            modulated={
                "image": {
                    "attn": Modulated(Tap("norm1"), Tap("attn1", "hidden_states")),
                    "mlp": Modulated(Tap("norm2"), Tap("ff", "hidden_states", planar=True)),
                }
            },
        ),
    ),
    guidance=Guidance(branches=("uncond", "cond"), scale="guidance_scale", doubled=True),
    timestep_argument="timestep",
    timestep_scale="timestep_scale",
    token_pixels=1,
    grid_argument="hidden_states",
    nominal_cell=32,
    examples=(
        "Efficient-Large-Model/Sana_1600M_1024px_diffusers",
        "Efficient-Large-Model/SANA1.5_1.6B_1024px_diffusers",
        "Efficient-Large-Model/SANA1.5_4.8B_1024px_diffusers",
    ),
)
