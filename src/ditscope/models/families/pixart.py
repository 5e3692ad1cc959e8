"""PixArt-Sigma: image stream only, text by cross-attention, a doubled batch, a learned variance."""

from __future__ import annotations

from ditscope.models.block_lists import cross_attention
from ditscope.models.family import Family, Guidance

__all__ = ["PIXART_SIGMA"]

PIXART_SIGMA = Family(
    name="PixArt-Sigma",
    pipelines=("PixArtSigmaPipeline",),
    transformer_class="PixArtTransformer2DModel",
    block_lists=(cross_attention("BasicTransformerBlock"),),
    guidance=Guidance(branches=("uncond", "cond"), scale="guidance_scale", doubled=True),
    timestep_argument="timestep",
    timestep_scale=1.0,
    token_pixels=2,
    grid_argument="hidden_states",
    nominal_cell=8,
    examples=("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",),
)
