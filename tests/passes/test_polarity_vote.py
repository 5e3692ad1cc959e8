"""Blocks that cut an image alike, and call different sides the foreground."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope.passes.polarity_vote import turned_over


@pytest.mark.parametrize("wrong", [[], [0], [1, 4]])
def test_the_minority_is_turned_over(wrong) -> None:
    random = np.random.default_rng(0)
    truth = random.random(100) < 0.3
    masks = np.stack([truth ^ (random.random(100) < 0.1) for _ in range(6)])
    masks[wrong] = ~masks[wrong]
    assert np.flatnonzero(turned_over(masks)).tolist() == wrong


def test_a_block_that_cuts_otherwise_has_little_weight() -> None:
    """Two good blocks against one: of three that say nothing none tips the vote."""
    random = np.random.default_rng(1)
    truth = random.random(4000) < 0.3
    masks = np.stack([truth, truth, ~truth, *(random.random((3, 4000)) < 0.5)])
    assert turned_over(masks)[:3].tolist() == [False, False, True]


def test_one_sided_masks_stay_and_do_not_vote() -> None:
    masks = np.array(
        [
            [True] * 4,
            [False] * 4,
            [True, False, False, False],
            [True, False, False, False],
            [False, True, True, True],
        ]
    )
    assert turned_over(masks).tolist() == [False, False, False, False, True]
