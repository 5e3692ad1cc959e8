"""The normalisation that reads a block's end, and what it divides by."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.normalization import RMSNorm

from ditscope.models._internals.of_nnsight import module_of
from ditscope.models.reading_norm import inverse_deviation, reading_norm


@pytest.mark.parametrize(
    "make", [torch.nn.LayerNorm, lambda width: RMSNorm(width, eps=1e-6), torch.nn.RMSNorm]
)
def test_what_a_norm_divides_by_is_what_its_output_shows(make) -> None:
    """Normalising is affine for given statistics: a small change of one value shows what it is divided by."""
    norm, hidden = make(16).double(), torch.randn(2, 3, 16, dtype=torch.float64) * 3 + 1
    middle = hidden.mean(-1, keepdim=True) if isinstance(norm, torch.nn.LayerNorm) else 0.0
    meant = norm(hidden) / ((hidden - middle) * norm.weight)
    assert torch.allclose(inverse_deviation(norm, hidden).double(), meant.mean(-1, keepdim=True), rtol=1e-5)


def test_the_next_block_reads_an_output_and_the_block_itself_its_input(dit) -> None:
    blocks = dit.blocks
    double, single = blocks[0], blocks[5]
    norms = {
        (0, "block_output", "image"): blocks[1].norm1.norm,
        (0, "block_input", "text"): double.norm1_context.norm,
        (3, "block_output", "text"): blocks[4].norm.norm,
        (5, "block_input", "image"): single.norm.norm,
        (9, "block_output", "image"): dit.transformer.norm_out.norm,
    }
    for (index, site, stream), envoy in norms.items():
        found = reading_norm(dit, blocks[index], site, stream)
        assert found is not None
        assert module_of(found.envoy) is module_of(envoy), (index, site, stream)
        assert found.joined == ("single" in envoy.path)
    assert reading_norm(dit, blocks[9], "block_output", "text") is None
