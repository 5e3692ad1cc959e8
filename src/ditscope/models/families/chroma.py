"""Chroma: FLUX.1's blocks without their modulation layers; one network makes all modulation and passes it to them.

diffusers adds the text mask (0 or 1) to the attention logits, so attention reads padding too: no text token is
masked here.
"""

from __future__ import annotations

from dataclasses import replace

from ditscope.models.block_lists import dual_stream, fused
from ditscope.models.families.flux import FLUX
from ditscope.models.family import Guidance
from ditscope.models.hook_points import modulation

__all__ = ["CHROMA"]

CHROMA = replace(
    FLUX,
    name="Chroma",
    pipelines=("ChromaPipeline", "ChromaImg2ImgPipeline"),
    transformer_class="ChromaTransformer2DModel",
    block_lists=(
        dual_stream(
            "transformer_blocks",
            "double",
            "ChromaTransformerBlock",
            image=modulation(argument="temb"),
            text=modulation(argument="temb", first=6),
        ),
        fused("single_transformer_blocks", "ChromaSingleTransformerBlock", argument="temb"),
    ),
    # The empty negative prompt is the pipeline's own.
    guidance=Guidance(branches=("cond", "uncond"), scale="guidance_scale"),
    text_encoders=("text_encoder",),
    examples=("lodestones/Chroma1-HD",),
    refused={},
)
