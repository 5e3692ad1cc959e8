"""Plain forms: what is written as JSON and made again is the same, to the last bit and the dtype."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ditscope.channels.json_form import JsonForm
from ditscope.errors import InputError


@dataclass(frozen=True, eq=False)
class Holder(JsonForm):
    """A plain form with one field for anything."""

    value: Any


def again(value: Any) -> Any:
    """The value once it has gone through JSON text."""
    return Holder.from_json(json.loads(json.dumps(Holder(value).to_json(), allow_nan=False))).value


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | inner.map(Holder),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(plain)
def test_numbers_text_tuples_and_forms_within_come_back_as_they_were(value) -> None:
    made = again(value)
    assert repr(made) == repr(value)  # repr tells 1 from 1.0 and True, and 0.0 from -0.0
    assert Holder(made) == Holder(value)
    assert hash(Holder(made)) == hash(Holder(value))


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?"]).map(np.dtype), hnp.array_shapes(max_side=3)
    )
)
def test_arrays_come_back_bit_for_bit_with_dims_dtype_and_labels(values) -> None:
    """Also NaN, infinities, subnormal numbers and whole numbers that no double holds."""
    dims = [f"dim_{axis}" for axis in range(values.ndim)]
    coords = {
        dims[0]: [f"naïve {row}" for row in range(len(values))],
        "level": (dims, values),
        "scalar": np.float32(0.1),
    }
    array = xr.DataArray(values, dims=dims, coords=coords)
    made = again((array, 3))[0]
    xr.testing.assert_identical(made, array)
    assert made.dtype == made["level"].dtype == values.dtype
    assert made["scalar"].dtype == np.float32
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        assert np.array_equal(np.signbit(made.values[finite]), np.signbit(values[finite]))
    assert Holder(made) == Holder(array)


def test_scalars_of_numpy_become_the_numbers_that_they_are() -> None:
    made = again((np.float32(0.1), np.int64(2**62), np.bool_(True), np.str_("a")))
    assert made == (float(np.float32(0.1)), 2**62, True, "a")
    assert [type(entry) for entry in made] == [float, int, bool, str]


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        np.float32("inf"),
        (1, (2, float("-inf"))),
        1j,
        {"a": 1},
        b"a",
        np.zeros(3),
        xr.DataArray(np.array(["2026-01-01"], dtype="M8[ns]")),
        xr.DataArray([1j]),
        xr.DataArray(np.array([None, "a"], dtype=object)),
        xr.DataArray([1], dims="x", coords={"x": np.array(["2026-01-01"], dtype="M8[ns]")}),
    ],
    ids=repr,
)
def test_what_json_has_no_form_for_is_refused_and_not_rounded_or_dropped(value) -> None:
    with pytest.raises(InputError, match="value"):
        Holder(value).to_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"dims": ["x", "y"]},
        {"dims": [[]]},
        {"values": [[1.0], [2.0, 3.0]]},
        {"values": ["much", "more"]},
        {"values": None},
        {"dtype": "object"},
        {"dtype": "no dtype"},
        {"coords": [1]},
        {"coords": {"x": {"dims": ["x"], "dtype": "int64", "values": [1, 2, 3]}}},
    ],
)
def test_a_damaged_array_is_refused(changes) -> None:
    form = Holder(xr.DataArray(np.float32([1, 2]), dims="x")).to_json()
    form["value"].update(changes)
    with pytest.raises(InputError, match="a plain form of DataArray that cannot be read"):
        Holder.from_json(form)


def test_what_is_equal_has_one_hash() -> None:
    forms = [Holder(1), Holder(1.0), Holder(True)]
    for one in forms:
        for other in forms:
            assert one != other or hash(one) == hash(other)
