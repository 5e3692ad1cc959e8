"""Clamped channels against plain hooks."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import InputError

IDS = [3, 77, 120]


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.25), (None, 0.1), (0.1, None)])
def test_clamp_is_what_a_plain_hook_does(assert_does, low, high) -> None:
    assert_does(ds.edits.clamp(IDS, low, high), lambda values: values.clamp(low, high), ids=IDS)


def test_limits_beyond_all_values_change_nothing(edited, plain) -> None:
    images, table = edited(ds.edits.clamp(None, -3e38, 3e38))
    assert np.array_equal(images, plain.images)
    assert not table["moved"].any()


@pytest.mark.parametrize(
    "limits", [(None, None), (1, 0), (float("nan"), None), (None, float("inf")), ("x", 1)]
)
def test_limits_that_are_none_are_refused(limits) -> None:
    with pytest.raises(InputError, match="expected a (limit|finite number)"):
        ds.edits.clamp(IDS, *limits)


def test_the_label_says_the_limits() -> None:
    assert ds.edits.clamp(IDS, -1, 2.5).label == "clamp to -1 ... 2.5 for explicit channels"
    assert ds.edits.clamp(IDS, high=2).label == "clamp to ... 2 for explicit channels"
