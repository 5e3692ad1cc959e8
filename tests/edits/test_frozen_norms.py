"""What is frozen of which edits; ``tests/families/test_frozen_norms.py`` holds every family to plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ditscope as ds
from ditscope.errors import InputError
from ditscope.models.reading_norm import inverse_deviation


def test_two_edits_of_one_hidden_state_freeze_what_it_was_before_both(edited) -> None:
    """Together they are the edit of both channels."""
    where = {"blocks": ["double.3", "single.5"], "freeze_layernorm": True}
    apart, _ = edited(ds.edits.zero([3], **where), ds.edits.zero([77], **where))
    at_once, _ = edited(ds.edits.zero([3, 77], **where))
    unfrozen, _ = edited(ds.edits.zero([3, 77], blocks=where["blocks"]))
    assert np.array_equal(apart, at_once)
    assert not np.array_equal(at_once, unfrozen)


def test_an_output_and_the_input_that_it_becomes_are_one_hidden_state(edited) -> None:
    split, _ = edited(
        ds.edits.zero([3], blocks=4, freeze_layernorm=True),
        ds.edits.zero([77], blocks=5, site="block_input", freeze_layernorm=True),
    )
    at_once, _ = edited(ds.edits.zero([3, 77], blocks=4, freeze_layernorm=True))
    assert np.array_equal(split, at_once)


def test_both_streams_of_one_joined_norm_are_frozen(edited) -> None:
    both = [
        ds.edits.scale([3], 5.0, blocks=5, stream=stream, freeze_layernorm=True)
        for stream in ("image", "text")
    ]
    together, _ = edited(*both)
    assert not np.array_equal(together, edited(both[0])[0])
    assert not np.array_equal(together, edited(both[1])[0])


@pytest.mark.parametrize("site", ["attn_output", "mlp_output", "attn_gate"])
def test_a_site_that_no_norm_reads_is_refused_when_the_edit_is_made(site) -> None:
    with pytest.raises(InputError, match=f"freeze_layernorm at {site}"):
        ds.edits.zero([1], site=site, freeze_layernorm=True)


def test_it_is_in_the_label_and_in_the_json_form() -> None:
    edit = ds.edits.zero([1], freeze_layernorm=True)
    assert edit.label == "zero explicit channels, LayerNorm frozen"
    assert ds.edits.from_json(edit.to_json()).freeze_layernorm
    assert edit != ds.edits.zero([1])


def test_what_freezing_leaves_out_is_the_rescaling() -> None:
    """Without a channel of size M, RMSNorm makes the others sqrt(1 + M^2 / (channels * rms^2)) times larger."""
    norm, hidden = torch.nn.RMSNorm(64, elementwise_affine=False, eps=1e-12), torch.full((1, 1, 64), 0.5)
    hidden[..., 0] = 100.0
    after = hidden.clone()
    after[..., 0] = 0
    frozen = norm(hidden) + (after - hidden) * inverse_deviation(norm, hidden)
    assert torch.allclose(frozen[..., 1:], norm(hidden)[..., 1:])
    assert torch.allclose(frozen[..., 0], torch.zeros(1), atol=1e-5)
    larger = float((norm(after) / frozen)[0, 0, 1])
    assert larger == pytest.approx((1 + 100.0**2 / (63 * 0.5**2)) ** 0.5, rel=1e-4)
