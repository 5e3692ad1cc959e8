"""Channels of flipped sign against plain hooks."""

from __future__ import annotations

import numpy as np

import ditscope as ds

IDS = [3, 77, 120]


def test_flip_sign_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.flip_sign(IDS), lambda values: -values, ids=IDS)


def test_twice_changes_nothing(edited, plain) -> None:
    images, _ = edited(ds.edits.flip_sign(IDS), ds.edits.flip_sign(IDS))
    assert np.array_equal(images, plain.images)
