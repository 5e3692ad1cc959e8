"""Statistics over tokens against exact fractions, and against numpy on finite values alone."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditscope.passes import token_reduction
from ditscope.passes.token_reduction import REDUCED, reduce_tokens

DTYPES = [ml_dtypes.bfloat16, np.float16, np.float32, np.float64]
BOUND = 1e-12


def exact(column: np.ndarray) -> tuple[float, ...]:
    """Statistics of finite values in rational arithmetic, and how many values are not finite."""
    wide = column.astype(np.float64)
    values = [Fraction(float(value)) for value in wide if np.isfinite(value)]
    lost = len(wide) - len(values)
    if not values:
        return (np.nan,) * 4 + (lost,)
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    # The root of a fraction, without underflow on the way.
    scale = max(map(abs, values)) or Fraction(1)
    spread = sqrt(variance / scale**2) * float(scale)
    size = sum(map(abs, values)) / len(values)
    return float(mean), float(size), spread, float(max(map(abs, values))), lost


@st.composite
def columns(draw: st.DrawFn) -> np.ndarray:
    """``[token]`` of any dtype: noise on offsets, outliers, all exponents, denormals, zeros, NaN and infinity."""
    dtype = draw(st.sampled_from(DTYPES))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tokens = draw(st.integers(1, 80))
    offset = draw(st.sampled_from([0, 0.3, 3000, -50000]))
    values = random.normal(offset, draw(st.sampled_from([0, 1e-3, 1, 200])), tokens).astype(dtype)
    kind = draw(st.sampled_from(["noise", "outlier", "exponents", "denormal", "holes", "mostly holes"]))
    limits = ml_dtypes.finfo(dtype)
    if kind == "outlier":
        values[draw(st.integers(0, tokens - 1))] = draw(st.sampled_from([0, 1, -6e4]))
    elif kind == "exponents":
        wide = values.astype(np.float64) * 2.0 ** random.integers(-30, 30, tokens)
        values = np.clip(wide, -float(limits.max), float(limits.max)).astype(dtype)
    elif kind == "denormal":
        steps = random.integers(-3, 4, tokens)
        values = (steps * np.float64(limits.smallest_subnormal)).astype(dtype)
        if dtype == np.float64:  # its denormals have no squares
            values = steps * 1e-140
    elif kind.endswith("holes"):
        holes = random.random(tokens) < (0.9 if kind.startswith("mostly") else 0.1)
        values[holes] = random.choice([np.nan, np.inf, -np.inf], holes.sum()).astype(dtype)
    return values


@settings(max_examples=150, deadline=None)
@given(columns(), st.sampled_from([1, 7, 64, 1 << 17]), st.sampled_from([5, 512]))
def test_within_the_bound_of_exact_arithmetic(column, piece, run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_reduction, "_PIECE", piece)
        patch.setattr(token_reduction, "_RUN", run)
        found = dict(zip(REDUCED, reduce_tokens(column[:, None])[:, 0], strict=True))
    mean, size, spread, largest, lost = exact(column)
    assert found["nonfinite"] == lost
    np.testing.assert_equal(found["abs_max"], largest)
    np.testing.assert_allclose(found["mean"], mean, rtol=0, atol=BOUND * np.nan_to_num(size))
    np.testing.assert_allclose(found["mean_abs"], size, rtol=BOUND)
    # Of equal values in float32 or wider the mean itself is rounded.
    np.testing.assert_allclose(found["std"], spread, rtol=BOUND, atol=1e-15 * np.nan_to_num(largest))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_slabs_tokens_and_channels_do_not_touch_one_another(data):
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = data.draw(st.tuples(*(st.integers(1, most) for most in (3, 4, 40, 6))))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    values = random.normal(1, 3, shape).astype(dtype)
    lost = random.random(shape) < data.draw(st.sampled_from([0, 0.01, 0.3]))
    values[lost] = random.choice([np.nan, np.inf, -np.inf], lost.sum()).astype(dtype)
    real = random.random(shape[:-1]) < 0.7 if data.draw(st.booleans()) else np.ones(shape[:-1], dtype=bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_reduction, "_PIECE", data.draw(st.sampled_from([1, 30, 200, 1 << 17])))
        patch.setattr(token_reduction, "_RUN", data.draw(st.sampled_from([3, 512])))
        found = reduce_tokens(values, real)
    assert found.shape == (*shape[:2], len(REDUCED), shape[-1])
    for slab in np.ndindex(*shape[:2]):
        for channel in range(shape[-1]):
            column = values[(*slab, real[slab], channel)]
            kept = column[np.isfinite(column.astype(float))].astype(np.float64)
            expected = [np.nan] * 4
            if len(kept):
                expected = [kept.mean(), abs(kept).mean(), kept.std(), abs(kept).max()]
            row = found[(*slab, slice(None), channel)]
            np.testing.assert_allclose(row, [*expected, len(column) - len(kept)], rtol=BOUND, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_in_memory_does_not_matter(dtype):
    values = np.random.default_rng(0).normal(5, 1, (3, 50, 8)).astype(dtype)
    turned = np.asfortranarray(values)
    np.testing.assert_allclose(reduce_tokens(turned), reduce_tokens(values), rtol=1e-14)
    assert (np.asfortranarray(turned) == values).all()  # it is read alone
