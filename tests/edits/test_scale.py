"""Scaled channels against plain hooks."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import InputError

IDS = [3, 77, 120]


def test_scale_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.scale(IDS, -2.5), lambda values: values * -2.5, ids=IDS)


def test_scaled_text_is_what_a_plain_hook_does(assert_does) -> None:
    edit = ds.edits.scale(IDS, 3.0, stream="text", tokens=[0, -1])
    assert_does(edit, lambda values: values * 3, ids=IDS, tokens=[0, 23], place=("block_output", "text"))


@pytest.mark.parametrize(
    "edits",
    [
        [ds.edits.scale(range(128), 1.0)],
        [ds.edits.scale(IDS, 1.0, site="block_input"), ds.edits.scale(IDS, 1.0, stream="text")],
        # Two edits of one place are applied one after the other: halving is exact.
        [ds.edits.scale(IDS, 0.5), ds.edits.scale(IDS, 2.0)],
    ],
)
def test_edits_that_come_to_nothing_give_the_same_image(edited, plain, edits) -> None:
    images, table = edited(*edits)
    assert np.array_equal(images, plain.images)
    if len(edits) == 1:
        assert not table[["removed", "moved"]].to_numpy().any()


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -float("inf"), "x", None, True, 1j])
def test_a_factor_that_is_no_finite_number_is_refused(factor) -> None:
    with pytest.raises(InputError, match="a finite number"):
        ds.edits.scale(IDS, factor)


def test_the_label_says_the_factor() -> None:
    assert ds.edits.scale(IDS, np.float32(0.5)).label == "scale by 0.5 explicit channels"
