"""Labelled values in their one form, and looked up at a place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from ditscope.edits.given_values import given_values, values_at
from ditscope.errors import InputError

FORMS = [("channel",), ("direction", "channel")]
TABLE = xr.DataArray(
    np.arange(24.0).reshape(2, 3, 4),
    dims=("step", "block", "channel"),
    coords={"step": [5, 7], "block": [0, 2, 4], "channel": [9, 3, 1, 0]},
)
BLOCK: Any = SimpleNamespace(index=2, name="double.2")


def test_arrays_and_tensors_get_the_dims_of_their_number() -> None:
    assert given_values("direction", [1.0, 2.0], FORMS).dims == ("channel",)
    made = given_values("direction", torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True), FORMS)
    assert (made.dims, made.dtype) == (("direction", "channel"), np.float32)


def test_labelled_ones_go_by_their_names() -> None:
    made = given_values("direction", TABLE.transpose("channel", "step", "block"), FORMS, ("step", "block"))
    assert made.dims == ("step", "block", "channel")
    at = values_at("direction", made, BLOCK, 7, np.array([0, 9]))
    assert (at.values.tolist(), at.dtype) == ([19.0, 16.0], np.float32)
    # Without labels, by position; and without a dim, the same for all.
    bare = xr.DataArray(TABLE.values[0], dims=("block", "channel"))
    assert values_at("direction", bare, BLOCK, 7, np.array([1])).values.tolist() == [9.0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (TABLE, "perhaps with block"),
        (np.zeros((2, 2, 2)), "a DataArray of numbers with dims"),
        (np.zeros(0), "a DataArray of numbers with dims"),
        ("text", "a DataArray of numbers with dims"),
        (np.array([1j]), "complex128"),
        (xr.DataArray(np.zeros(2), dims="channel", coords={"channel": [3, 3]}), "a channel twice"),
    ],
)
def test_what_has_other_dims_or_labels_is_refused(values, words) -> None:
    with pytest.raises(InputError, match=words):
        given_values("direction", values, FORMS, ("block",))


@pytest.mark.parametrize(
    ("block", "step", "ids", "words"),
    [
        (1, 5, [0], "no direction for double.1, step 5, channels .0."),
        (2, 6, [0], "no direction for double.2, step 6"),
        (2, 5, [0, 2], "no direction for double.2"),
        (4, 7, [9, 0], "direction nan for double.4, channel 0"),
    ],
)
def test_what_is_missing_is_named(block, step, ids, words) -> None:
    table = TABLE.where(TABLE != 23)
    with pytest.raises(InputError, match=words):
        values_at(
            "direction", table, SimpleNamespace(index=block, name=f"double.{block}"), step, np.array(ids)
        )
