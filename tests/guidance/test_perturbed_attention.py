"""What perturbed-attention guidance is made of; its images are those of a plain loop in tests/families."""

from __future__ import annotations

import ditscope as ds


def test_it_is_guidance_by_identity_attention() -> None:
    massive = ds.guidance.detail([3], 2.0, 1)
    alone = ds.edits.identity_attention(blocks=[1, 2], steps=[0])
    found = ds.guidance.perturbed_attention(1.5, blocks=[1, 2], steps=[0], match_norm_of=massive)
    assert found == ds.guidance.from_edits(alone, 1.5, match_norm_of=massive)
    assert found.label == "guidance w=1.5 from identity attention, norm of zero explicit channels"
