"""Identity attention as an edit: its place, and others beside it."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.edits.edit import from_json
from ditscope.errors import InputError, UnsupportedError

ALONE = ds.edits.identity_attention(blocks=2)


def test_it_acts_on_the_image_tokens_and_rows_of_its_scope(edited) -> None:
    images, table = edited(ds.edits.identity_attention(blocks=2, steps=1, branches="cond", tokens=[0, 5]))
    assert table[["step", "branch", "block", "tokens"]].drop_duplicates().to_numpy().tolist() == [
        [1, "cond", 2, 2]
    ]
    assert not np.array_equal(images, edited(ds.edits.identity_attention(blocks=2, steps=1))[0])


def test_edits_of_one_place_follow_each_other_whichever_looks_first(edited) -> None:
    """What it is in place of may have been edited, before or after it, in either stream."""
    zero, scaled = (
        ds.edits.zero(None, blocks=2, site="attn_output"),
        ds.edits.scale(None, 0.5, blocks=2, site="attn_output"),
    )
    text = ds.edits.zero([3], blocks=2, site="attn_output", stream="text")
    shift = ds.edits.zero(None, blocks=2, site="attn_gate", stream="text")
    assert np.array_equal(edited(zero, ALONE)[0], edited(ALONE)[0])
    assert np.array_equal(edited(ALONE, zero)[0], edited(zero)[0])
    assert not np.array_equal(edited(ALONE, scaled)[0], edited(ALONE)[0])
    assert np.array_equal(edited(text, ALONE, shift)[0], edited(shift, ALONE, text)[0])


def test_it_looks_before_other_copies_of_a_forward_read(dit) -> None:
    grid = ds.grid(
        lambda k: {"zero": ds.edits.zero([k], blocks=2, site="attn_output"), "alone": ALONE}, k=[1]
    )
    call = {"num_inference_steps": 1, "resamples": 2, "height": 32, "width": 48}
    alone, together = (
        ds.sweep(dit, "a red circle", 5, grid, ["latent_distance"], edits_per_forward=number, **call)
        for number in (1, 2)
    )
    assert np.allclose(alone["value"], together["value"], rtol=1e-3)


def test_it_has_a_plain_form_and_a_name() -> None:
    assert from_json(ALONE.to_json()) == ALONE
    assert ALONE.label == "identity attention"


@pytest.mark.parametrize("where", [{"site": "mlp_output"}, {"stream": "text"}, {"site": "block_output"}])
def test_another_place_is_refused(where) -> None:
    with pytest.raises(InputError, match="identity attention at"):
        ds.edits.identity_attention(**where)


def test_blocks_that_join_attention_and_mlp_are_refused_before_a_run(edited) -> None:
    with pytest.raises(UnsupportedError, match="asked of a single block, which has none"):
        edited(ds.edits.identity_attention())
