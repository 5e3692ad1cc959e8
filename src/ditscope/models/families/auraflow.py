"""AuraFlow: dual-stream blocks, then single-stream ones that carry text and image in one tensor.

Attention reaches a block's output by way of the MLP only: the block adds the MLP's output to the stream as it came.
Eight learned registers go before the text.
"""

from __future__ import annotations

from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.taps import Modulated, Tap, modulation

_JOINT = {
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
_JOINT_MODULATED = {
    "image": {
        "attn": Modulated(Tap("norm1.norm"), Tap("attn", "hidden_states")),
        "mlp": Modulated(Tap("norm2"), Tap("ff", "x")),
    },
    "text": {
        "attn": Modulated(Tap("norm1_context.norm"), Tap("attn", "encoder_hidden_states")),
        "mlp": Modulated(Tap("norm2_context"), Tap("ff_context", "x")),
    },
}
_SINGLE = {
    **modulation(module="norm1.linear"),
    "attn_output": Tap("attn", joined=True),
    "mlp_output": Tap("ff", joined=True),
}
_SINGLE_MODULATED = {
    "attn": Modulated(Tap("norm1.norm", joined=True), Tap("attn", "hidden_states", joined=True)),
    "mlp": Modulated(Tap("norm2", joined=True), Tap("ff", "x", joined=True)),
}
_SINGLE_ATTENDED = Tap("norm2", "inputs", joined=True)

AURAFLOW = Family(
    name="AuraFlow",
    pipelines=("AuraFlowPipeline",),
    transformer_class="AuraFlowTransformer2DModel",
    block_lists=(
        BlockList(
            "joint_transformer_blocks",
            "joint",
            "AuraFlowJointTransformerBlock",
            {"image": "hidden_states", "text": "encoder_hidden_states"},
            ("text", "image"),
            taps=_JOINT,
            modulated=_JOINT_MODULATED,
            attended={"image": Tap("norm2", "inputs"), "text": Tap("norm2_context", "inputs")},
        ),
        BlockList(
            "single_transformer_blocks",
            "single",
            "AuraFlowSingleTransformerBlock",
            {"image": "hidden_states", "text": "hidden_states"},
            ("text", "image"),
            joined=True,
            taps={"image": _SINGLE, "text": _SINGLE},
            modulated={"image": _SINGLE_MODULATED, "text": _SINGLE_MODULATED},
            attended={"image": _SINGLE_ATTENDED, "text": _SINGLE_ATTENDED},
        ),
    ),
    guidance=Guidance(branches=("uncond", "cond"), scale="guidance_scale", doubled=True),
    timestep_argument="timestep",
    timestep_scale=1e-3,
    token_pixels=2,
    grid_argument="hidden_states",
    registers="register_tokens",
    positions_along_edge=False,
    examples=("fal/AuraFlow-v0.3",),
)
