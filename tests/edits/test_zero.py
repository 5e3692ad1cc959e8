"""Zeroed channels against plain hooks."""

from __future__ import annotations

import torch

import ditscope as ds

IDS = [3, 77, 120]


def test_zero_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.zero(IDS), torch.zeros_like, ids=IDS)


def test_zero_at_the_input_is_what_a_plain_hook_does(assert_does) -> None:
    edit = ds.edits.zero(IDS, site="block_input")
    assert_does(edit, torch.zeros_like, ids=IDS, place=("block_input", "image"))
