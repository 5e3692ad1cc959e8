"""Chroma: FLUX.1's blocks without their modulation layers; one network makes all modulation and hands it over.

diffusers adds the text mask (0 or 1) to the attention logits, so attention reads padding too: no text token is
masked here.
"""

from __future__ import annotations

from dataclasses import replace

from ditscope.models.families.flux import FLUX
from ditscope.models.family import BlockList, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

_FLUX_DOUBLE = FLUX.block_lists[0]
_DOUBLE = {
    "image": {**_FLUX_DOUBLE.taps["image"], **modulation(argument="temb")},
    "text": {**_FLUX_DOUBLE.taps["text"], **modulation(argument="temb", first=6)},
}
# Single blocks add attention and MLP as one tensor, under one modulation for both streams.
_SINGLE = modulation(argument="temb", sites=("attn_shift", "attn_scale", "attn_gate"))
_ADDED = ((Tap("proj_out", joined=True), _SINGLE["attn_gate"]),)
_SINGLE_MODULATED = {
    "attn": Modulated(Tap("norm.norm", joined=True), Tap("attn", "hidden_states", joined=True))
}

CHROMA = replace(
    FLUX,
    name="Chroma",
    pipelines=("ChromaPipeline",),
    transformer_class="ChromaTransformer2DModel",
    block_lists=(
        replace(_FLUX_DOUBLE, block_class="ChromaTransformerBlock", taps=_DOUBLE),
        BlockList(
            "single_transformer_blocks",
            "single",
            "ChromaSingleTransformerBlock",
            {"image": "hidden_states", "text": "hidden_states"},
            ("text", "image"),
            joined=True,
            taps={"image": _SINGLE, "text": _SINGLE},
            also_added={"image": _ADDED, "text": _ADDED},
            modulated={"image": _SINGLE_MODULATED, "text": _SINGLE_MODULATED},
        ),
    ),
    # The empty negative prompt is the pipeline's own.
    guidance=Guidance(branches=("cond", "uncond"), scale="guidance_scale"),
    examples=("lodestones/Chroma1-HD",),
)
