"""Channels shuffled over tokens: against plain hooks, within masks, and whatever the batch is."""

from __future__ import annotations

import pytest
import torch

import ditscope as ds
import edits_by_hand
from ditscope.errors import InputError

IDS = [3, 77, 120]
SAMPLES = [("a red circle", 5), ("a white star", 6)]


def test_it_is_what_a_plain_hook_does(assert_does) -> None:
    def rule(old, place):
        return edits_by_hand.shuffled(old, SAMPLES, place, seed=2)

    assert_does(ds.edits.shuffle(IDS, seed=2), rule, ids=IDS, placed=True)


def test_only_the_edited_tokens_of_an_image_change_places(at_place) -> None:
    hidden = torch.randn(2, 60, 4)
    acts = torch.zeros(2, 60, 1, dtype=torch.bool)
    acts[0, 3:40], acts[1, ::2] = True, True
    for together in (True, False):
        new = ds.edits.shuffle(None, together=together).values(at_place(hidden, acts=acts))
        for row, own in enumerate(acts[:, :, 0]):
            assert torch.equal(new[row, ~own], hidden[row, ~own])
            assert torch.equal(new[row, own].sort(dim=0).values, hidden[row, own].sort(dim=0).values)
            assert (new[row, own] != hidden[row, own]).float().mean() > 0.8
            order = [hidden[row, :, channel].tolist() for channel in range(4)]
            orders = {tuple(order[c].index(x) for x in new[row, :, c].tolist()) for c in range(4)}
            assert len(orders) == (1 if together else 4)


def test_an_order_depends_on_nothing_but_the_sample_and_the_place(at_place) -> None:
    hidden, edit = torch.randn(2, 30, 3), ds.edits.shuffle(None)
    both = edit.values(at_place(hidden))
    assert torch.equal(
        edit.values(at_place(hidden.flip(0), samples=(("b", 2), ("a", 1)), first=5)).flip(0), both
    )
    assert torch.equal(edit.values(at_place(hidden[:1])), both[:1])
    acts = (torch.arange(35) < 30)[None, :, None].expand(2, -1, -1)
    padded = torch.cat([hidden, torch.randn(2, 5, 3)], dim=1)
    assert torch.equal(edit.values(at_place(padded, acts=acts))[:, :30], both)
    assert not torch.equal(edit.values(at_place(hidden, step=1)), both)
    steady = ds.edits.shuffle(None, per="run")
    assert torch.equal(steady.values(at_place(hidden, step=1)), steady.values(at_place(hidden, block=5)))


@pytest.mark.parametrize(
    ("wrong", "words"), [({"seed": 0.5}, "seed=0.5"), ({"per": 1}, "per 1"), ({"together": 1}, "together 1")]
)
def test_what_is_no_order_is_refused(wrong, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.edits.shuffle(IDS, **wrong)
