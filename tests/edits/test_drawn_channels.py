"""Each image's own random channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ditscope as ds
import edits_by_hand
from ditscope.edits import EditedVisit
from ditscope.edits.drawn_channels import RandomChannels
from ditscope.errors import InputError

HIDDEN = torch.randn(2, 3, 50)


def chosen(channels: RandomChannels, context) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in channels.choose(None, context, None).channels]


def test_they_follow_from_seed_draw_and_sample(at_place) -> None:
    channels = RandomChannels(k=8, seed=3, count=2)
    for draw in range(2):
        found = chosen(channels.draw(draw), at_place(HIDDEN, step=1, block=7))
        for row, sample in enumerate((("a", 1), ("b", 2))):
            order = edits_by_hand.random_of(sample, seed=3, draw=draw).permutation(50)
            assert found[row] == sorted(order[:8])
    assert channels.draws == 2
    assert channels.draw(1).draws == 1
    assert channels.draw(1).draw(0) == channels.draw(1)


def test_they_are_the_same_everywhere_or_new_at_every_place(at_place) -> None:
    here, there, later = (at_place(HIDDEN, **at) for at in ({}, {"block": 4}, {"step": 1}))
    for per, equal in (("run", [True, True]), ("step", [True, False]), ("place", [False, False])):
        channels = RandomChannels(k=8, per=per)
        first = chosen(channels, here)
        assert [chosen(channels, other) == first for other in (there, later)] == equal
        assert first[0] != first[1]


def test_they_are_uniform(at_place) -> None:
    context = at_place(HIDDEN)
    counts = sum(
        RandomChannels(k=10, seed=seed).choose(None, context, None).channels.sum(0) for seed in range(500)
    )
    assert (counts - 200).abs().max() < 5 * np.sqrt(200 * 0.8)


def test_what_cannot_be_drawn_is_refused(dit) -> None:
    with pytest.raises(InputError, match="k=129"):
        EditedVisit(dit, [ds.edits.zero(RandomChannels(k=129))], range(2))
    for wrong, words in (
        ({"k": 0}, "k=0"),
        ({"count": 0}, "count=0"),
        ({"seed": -1}, "seed=-1"),
        ({"per": "row"}, "per 'row'"),
    ):
        with pytest.raises(InputError, match=words):
            RandomChannels(**{"k": 2, **wrong})
    with pytest.raises(InputError, match="draw=2"):
        RandomChannels(k=2, count=2).draw(2)
