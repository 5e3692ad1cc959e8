"""Identity attention is what diffusers' own processors make of an identity map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import PAGIdentitySanaLinearAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor

import bare_pipeline
import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import UnsupportedError
from ditscope.models.identity_attention import require_identity_attention
from ditscope.tracing.run import run_traced

CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}


class ImageTokensAlone:
    """diffusers' attention under a mask by which an image token attends to itself, and a text token to all."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Any,
        encoder_hidden_states: Any = None,
        attention_mask: Any = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        n_text = encoder_hidden_states.shape[1]
        mask = torch.eye(n_text + hidden_states.shape[1], dtype=torch.bool)
        mask[:n_text] = True
        return FluxAttnProcessor()(attn, hidden_states, encoder_hidden_states, mask, image_rotary_emb)


def test_it_is_attention_under_an_identity_map(dit, untrained_folder) -> None:
    samples = [("a red circle", 5), ("a white star", 6)]
    edit = ds.edits.identity_attention(blocks=[1, 3])
    visitor = EditedVisit(dit, [edit], range(1))
    found = run_traced(dit, samples, visitor, keep_latents=True, **CALL).latents[:, -1]
    pipeline = bare_pipeline.opened(untrained_folder)
    attentions = [pipeline.transformer.transformer_blocks[block].attn for block in (1, 3)]
    prompts, seeds = ([each[at] for each in samples] for at in (0, 1))
    bare = bare_pipeline.generate(pipeline, prompts, seeds, **CALL).latents[-1]
    try:
        for attention in attentions:
            attention.processor = ImageTokensAlone()
        expected = bare_pipeline.generate(pipeline, prompts, seeds, **CALL).latents[-1]
    finally:
        for attention in attentions:
            attention.processor = FluxAttnProcessor()
    assert np.allclose(found, expected, atol=1e-4)
    assert not np.allclose(found, bare, atol=1e-2)


def test_a_processor_of_ones_own_and_fused_projections_are_refused(dit) -> None:
    block = dit.blocks[1]
    attention = dit.diffusers_pipeline.transformer.transformer_blocks[1].attn
    own = attention.processor
    try:
        require_identity_attention(block)
        attention.processor = ImageTokensAlone()
        with pytest.raises(UnsupportedError, match="processor ImageTokensAlone in double.1"):
            require_identity_attention(block)
        attention.processor, attention.fused_projections = own, True
        with pytest.raises(UnsupportedError, match="fused projections in double.1"):
            require_identity_attention(block)
    finally:
        attention.processor, attention.fused_projections = own, False
    with pytest.raises(UnsupportedError, match="identity attention in single.0, whose family"):
        require_identity_attention(dit.blocks[4])


def test_on_sana_it_is_diffusers_own_perturbed_path(tmp_path_factory) -> None:
    """Of a self-attention by itself: what that processor makes of the second half of a batch."""
    from diffusers.models.transformers.sana_transformer import (
        SanaLinearAttnProcessor2_0,
        SanaTransformerBlock,
    )

    torch.manual_seed(0)
    block = SanaTransformerBlock(dim=8, num_attention_heads=2, attention_head_dim=4, cross_attention_dim=8)
    passed, attention = torch.randn(2, 6, 8), block.attn1
    perturbed = PAGIdentitySanaLinearAttnProcessor2_0()(attention, passed.repeat(2, 1, 1))[2:]
    (layout,) = ds.models.families.SANA.block_lists
    value = passed
    for path in layout.value_path:
        value = block.get_submodule(path)(value)
    assert torch.equal(value, perturbed)
    assert not torch.allclose(SanaLinearAttnProcessor2_0()(attention, passed), perturbed, atol=1e-3)
