"""FLUX.1: dual-stream ("double") blocks, then single-stream ones that return both streams again.

Kontext's reference image adds tokens behind those of the generated image; they belong to no stream.
"""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

_INPUTS = {"image": "hidden_states", "text": "encoder_hidden_states"}
_DOUBLE = {
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
}
_DOUBLE_MODULATED = {
    "image": {
        "attn": Modulated(Tap("norm1.norm"), Tap("attn", "hidden_states")),
        "mlp": Modulated(Tap("norm2"), Tap("ff", "hidden_states")),
    },
    "text": {
        "attn": Modulated(Tap("norm1_context.norm"), Tap("attn", "encoder_hidden_states")),
        "mlp": Modulated(Tap("norm2_context"), Tap("ff_context", "hidden_states")),
    },
}
# Single blocks add attention and MLP as one tensor, under one modulation for both streams.
_SINGLE = modulation(module="norm.linear", sites=("attn_shift", "attn_scale", "attn_gate"))
_ADDED = ((Tap("proj_out", joined=True), _SINGLE["attn_gate"]),)
_SINGLE_MODULATED = {
    "attn": Modulated(Tap("norm.norm", joined=True), Tap("attn", "hidden_states", joined=True))
}

FLUX = Family(
    name="FLUX.1",
    pipelines=("FluxPipeline", "FluxImg2ImgPipeline", "FluxKontextPipeline"),
    transformer_class="FluxTransformer2DModel",
    block_lists=(
        BlockList(
            "transformer_blocks",
            "double",
            "FluxTransformerBlock",
            _INPUTS,
            ("text", "image"),
            taps=_DOUBLE,
            modulated=_DOUBLE_MODULATED,
        ),
        BlockList(
            "single_transformer_blocks",
            "single",
            "FluxSingleTransformerBlock",
            _INPUTS,
            ("text", "image"),
            taps={"image": _SINGLE, "text": _SINGLE},
            also_added={"image": _ADDED, "text": _ADDED},
            modulated={"image": _SINGLE_MODULATED, "text": _SINGLE_MODULATED},
        ),
    ),
    # The scale of guidance-distilled checkpoints is embedded; de-distilled ones are guided by visits.
    guidance=Guidance(
        branches=("cond", "uncond"),
        scale="true_cfg_scale",
        negatives=(("negative_prompt",), ("negative_prompt_embeds", "negative_pooled_prompt_embeds")),
        embedded=True,
    ),
    timestep_argument="timestep",
    timestep_scale=1e-3,
    token_pixels=2,
    grid_argument="img_ids",
    examples=(
        "black-forest-labs/FLUX.1-dev",
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.1-Kontext-dev",
    ),
)
