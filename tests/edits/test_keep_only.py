"""What is left of the hidden state when some channels are kept, against plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ditscope as ds
from ditscope.errors import InputError

IDS = [3, 77, 120]
OTHERS = [channel for channel in range(128) if channel not in IDS]


@pytest.mark.parametrize(
    ("fill", "rule"),
    [("zero", torch.zeros_like), ("mean", lambda old: old.mean(dim=1, keepdim=True).expand_as(old))],
)
def test_all_others_are_filled(assert_does, fill, rule) -> None:
    assert_does(
        ds.edits.keep_only(IDS, fill, blocks=[4]), rule, ids=OTHERS, covers=lambda _, block: block == 4
    )


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_to_keep_all_changes_nothing_and_fires(edited, plain, fill) -> None:
    images, table = edited(ds.edits.keep_only(range(128), fill))
    assert np.array_equal(images, plain.images)
    assert len(table) == 4 * 10 * 2
    assert not table[["channels", "removed", "moved"]].to_numpy().any()


def test_live_channels_are_kept_too(at_place) -> None:
    hidden = torch.randn(2, 5, 8)
    edit = ds.edits.keep_only(ds.controls.top(3))
    context, _ = ds.edits.live_channels.narrowed(edit, at_place(hidden), edit.values)
    kept = hidden.abs().mean(dim=1).argsort(descending=True)[:, :3]
    assert not context.acts[:, 0].gather(1, kept).any()
    assert context.acts.sum() == 2 * 5


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(InputError, match="fill 'noise'"):
        ds.edits.keep_only(IDS, "noise")
    with pytest.raises(InputError, match="no channels to keep"):
        ds.edits.keep_only(None)
    assert ds.edits.keep_only(IDS, "mean").label == "mean of all but explicit channels"
