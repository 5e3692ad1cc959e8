"""AuraFlow: dual-stream blocks, then single-stream ones that carry text and image in one tensor.

Attention reaches a block's output by way of the MLP only: the block adds the MLP's output to the stream as it came.
Eight learned registers go before the text.
"""

from __future__ import annotations

from ditscope.models.block_lists import dual_stream, single_stream
from ditscope.models.family import Family, Guidance
from ditscope.models.hook_points import Modulated, Tap, modulation

__all__ = ["AURAFLOW"]

_SINGLE = {
    **modulation(module="norm1.linear"),
    "attn_output": Tap("attn", joined=True),
    "mlp_output": Tap("ff", joined=True),
}
_SINGLE_MODULATED = {
    "attn": Modulated(Tap("norm1.norm", joined=True), Tap("attn", "hidden_states", joined=True)),
    "mlp": Modulated(Tap("norm2", joined=True), Tap("ff", "x", joined=True)),
}

AURAFLOW = Family(
    name="AuraFlow",
    pipelines=("AuraFlowPipeline",),
    transformer_class="AuraFlowTransformer2DModel",
    block_lists=(
        dual_stream(
            "joint_transformer_blocks",
            "joint",
            "AuraFlowJointTransformerBlock",
            mlp_argument="x",
            attended={"image": Tap("norm2", "inputs"), "text": Tap("norm2_context", "inputs")},
        ),
        single_stream(
            "single_transformer_blocks",
            "AuraFlowSingleTransformerBlock",
            _SINGLE,
            _SINGLE_MODULATED,
            attended=Tap("norm2", "inputs", joined=True),
            value_path=("attn.to_v", "attn.to_out.0"),
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
