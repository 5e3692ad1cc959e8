"""The limits and steps of dtypes, against numpy's own."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditscope.precision import DTYPES, at_limit, limit, spacing


def kind_of(dtype: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_limit_is_the_last_value_before_infinity(dtype):
    last = kind_of(dtype).type(limit(dtype))
    assert float(last) == limit(dtype) < np.inf
    assert np.nextafter(last, kind_of(dtype).type(np.inf)) == np.inf
    assert limit("float16") == 65504


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_the_limit_itself_is_at_it(dtype):
    kind = kind_of(dtype)
    last = kind.type(limit(dtype))
    below = np.nextafter(last, kind.type(0))
    values = np.array([last, -last, below, -below, np.inf, -np.inf, np.nan, 0, -0.0], dtype=kind)
    expected = [True, True] + 7 * [False]
    assert at_limit(values, dtype).tolist() == expected
    assert at_limit(values[::2], dtype).tolist() == expected[::2]
    assert at_limit(values.astype("f4"), dtype).tolist() == expected


def test_what_was_cast_to_a_smaller_dtype_is_not_at_the_limit_for_being_infinite():
    assert at_limit(np.array([np.inf, 1e300], dtype="f8").astype("f4"), "float64").tolist() == [False, False]


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.floats(0, 6e4, width=32))
def test_the_spacing_is_numpy_s(dtype, size):
    value = kind_of(dtype).type(size)
    assert spacing(np.array(float(value)), dtype) == float(np.spacing(value))


def test_a_channel_of_3000_moves_in_steps_of_16_in_bfloat16():
    assert spacing(np.array([3000.0, 0.75, np.nan, np.inf]), "bfloat16").tolist()[:2] == [16, 2**-8]
    assert np.isnan(spacing(np.array([np.nan, np.inf]), "bfloat16")).all()
