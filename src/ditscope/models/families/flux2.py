"""FLUX.2: dual-stream blocks, then single-stream ones that carry text and image in one tensor.

Reference images add tokens behind those of the generated image; they belong to no stream.
"""

from __future__ import annotations

from dataclasses import replace

from ditscope.models.family import NO_GUIDANCE, BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

# All double blocks share their modulation, and all single blocks; they are handed it.
_DOUBLE = {
    "image": {
        **modulation(argument="temb_mod_img"),
        "attn_output": Tap("attn", item=0),
        "mlp_output": Tap("ff"),
    },
    "text": {
        **modulation(argument="temb_mod_txt"),
        "attn_output": Tap("attn", item=1),
        "mlp_output": Tap("ff_context"),
    },
}
_DOUBLE_MODULATED = {
    "image": {
        "attn": Modulated(Tap("norm1"), Tap("attn", "hidden_states")),
        "mlp": Modulated(Tap("norm2"), Tap("ff", "x")),
    },
    "text": {
        "attn": Modulated(Tap("norm1_context"), Tap("attn", "encoder_hidden_states")),
        "mlp": Modulated(Tap("norm2_context"), Tap("ff_context", "x")),
    },
}
# Single blocks add attention and MLP as one tensor.
_SINGLE = modulation(argument="temb_mod", sites=("attn_shift", "attn_scale", "attn_gate"))
_ADDED = ((Tap("attn", joined=True), _SINGLE["attn_gate"]),)
_SINGLE_MODULATED = {"attn": Modulated(Tap("norm", joined=True), Tap("attn", "hidden_states", joined=True))}

FLUX2_KLEIN = Family(
    name="FLUX.2 klein",
    pipelines=("Flux2KleinPipeline",),
    transformer_class="Flux2Transformer2DModel",
    block_lists=(
        BlockList(
            "transformer_blocks",
            "double",
            "Flux2TransformerBlock",
            {"image": "hidden_states", "text": "encoder_hidden_states"},
            ("text", "image"),
            taps=_DOUBLE,
            modulated=_DOUBLE_MODULATED,
        ),
        BlockList(
            "single_transformer_blocks",
            "single",
            "Flux2SingleTransformerBlock",
            {"image": "hidden_states", "text": "hidden_states"},
            ("text", "image"),
            joined=True,
            taps={"image": _SINGLE, "text": _SINGLE},
            also_added={"image": _ADDED, "text": _ADDED},
            modulated={"image": _SINGLE_MODULATED, "text": _SINGLE_MODULATED},
        ),
    ),
    # The empty negative prompt is the pipeline's own.
    guidance=Guidance(branches=("cond", "uncond"), scale="guidance_scale", unless="is_distilled"),
    timestep_argument="timestep",
    timestep_scale=1e-3,
    token_pixels=2,
    grid_argument="img_ids",
    examples=(
        "black-forest-labs/FLUX.2-klein-4B",
        "black-forest-labs/FLUX.2-klein-9B",
        "black-forest-labs/FLUX.2-klein-base-4B",
        "black-forest-labs/FLUX.2-klein-base-9B",
    ),
)

FLUX2_DEV = replace(
    FLUX2_KLEIN,
    name="FLUX.2 dev",
    pipelines=("Flux2Pipeline",),
    guidance=replace(NO_GUIDANCE, embedded=True),
    examples=("black-forest-labs/FLUX.2-dev",),
)
