"""Channels that are chosen in the run: what they share, and how they narrow a context."""

from __future__ import annotations

import pytest
import torch

import ditscope as ds
from ditscope.edits.live_channels import narrowed
from ditscope.errors import InputError

TOP = ds.controls.top(2)


def test_frozen_channels_narrow_nothing(at_place) -> None:
    context, edit = at_place(torch.randn(2, 3, 4)), ds.edits.zero([1])
    assert narrowed(edit, context, edit.values) == (context, None)


def test_the_edit_acts_on_what_is_chosen_within_the_mask_that_was_there(at_place) -> None:
    hidden = torch.randn(2, 3, 6)
    edit = ds.edits.zero(TOP)
    own = torch.zeros(2, 6, dtype=torch.bool)
    own.scatter_(1, hidden.abs().sum(dim=1).argsort(dim=1)[:, -2:], True)
    context, chosen = narrowed(edit, at_place(hidden), edit.values)
    assert torch.equal(chosen.channels, own)
    assert torch.equal(context.acts, own[:, None])
    tokens = torch.tensor([True, True, False])[None, :, None].expand(2, -1, -1)
    masked, _ = narrowed(edit, at_place(hidden, acts=tokens), edit.values)
    assert torch.equal(masked.acts.any(dim=2), tokens[:, :, 0])


def test_they_stand_in_an_edit_as_a_set_does(dit) -> None:
    edit = ds.edits.zero(TOP)
    assert (edit.draws, edit.control, edit.draw(0)) == (1, False, edit)
    assert ds.edits.zero(ds.controls.bottom(2)).control
    assert repr(edit).startswith("<Edit: zero each image's own top 2 by mean_abs, 2 channels a block")
    assert edit.chosen(dit.blocks) == list(dit.blocks)
    with pytest.raises(InputError, match="draw=1"):
        edit.draw(1)
    with pytest.raises(InputError, match="channels of the image stream in an edit of the text stream"):
        ds.edits.zero(TOP, stream="text")
