"""SANA: image stream only, text by cross-attention, linear self-attention, a doubled batch."""

from __future__ import annotations

from ditscope.models.block_lists import cross_attention
from ditscope.models.family import Family, Guidance

__all__ = ["SANA"]

SANA = Family(
    name="SANA",
    pipelines=("SanaPipeline", "SanaPAGPipeline", "SanaControlNetPipeline"),
    transformer_class="SanaTransformer2DModel",
    block_lists=(cross_attention("SanaTransformerBlock", planar=True),),
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
    refused={
        f"SanaSprint{kind}Pipeline": "the scheduler's noise is none that is known" for kind in ("", "Img2Img")
    },
)
