"""Lumina Image 2.0: blocks that carry text and image in one tensor, scale without shift, and gate by a tanh.

Padding is taken out row by row before the blocks. The refiners before them, which see one stream alone, are not
among the blocks.
"""

from __future__ import annotations

from ditscope.models.block_lists import single_stream
from ditscope.models.family import Family, Guidance
from ditscope.models.hook_points import Modulated, Tap, modulation

__all__ = ["LUMINA2"]

# What attention and MLP put out is normed before it is gated and added.
_TAPS = {
    **modulation(
        module="norm1.linear",
        sites=("attn_scale", "attn_gate", "mlp_scale", "mlp_gate"),
        tanh=("attn_gate", "mlp_gate"),
    ),
    "attn_output": Tap("norm2", joined=True),
    "mlp_output": Tap("ffn_norm2", joined=True),
}
_MODULATED = {
    "attn": Modulated(Tap("norm1.norm", joined=True), Tap("attn", "hidden_states", joined=True)),
    "mlp": Modulated(Tap("ffn_norm1", joined=True), Tap("feed_forward", "x", joined=True)),
}

LUMINA2 = Family(
    name="Lumina2",
    pipelines=("Lumina2Pipeline",),
    transformer_class="Lumina2Transformer2DModel",
    block_lists=(single_stream("layers", "Lumina2TransformerBlock", _TAPS, _MODULATED, kind="joint"),),
    # The empty negative prompt is the pipeline's own.
    guidance=Guidance(branches=("cond", "uncond"), scale="guidance_scale"),
    timestep_argument="timestep",
    timestep_scale=-1e-3,
    timestep_offset=1.0,
    token_pixels=2,
    grid_argument="hidden_states",
    text_mask_argument="encoder_attention_mask",
    text_padding_kept=False,
    text_length_varies=True,
    readout=None,
    width=("hidden_size",),
    examples=("Alpha-VLLM/Lumina-Image-2.0",),
)
