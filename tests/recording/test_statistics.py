"""Statistics over tokens against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ditscope.recording.statistics import STATISTICS, token_statistics

SHAPES = array_shapes(min_dims=3, max_dims=3, max_side=6)
FINITE = st.floats(-1e4, 1e4, width=32)
ANY = FINITE | st.sampled_from([np.nan, np.inf, -np.inf])


def expected(values: np.ndarray) -> dict[str, np.ndarray]:
    """The definitions, one channel at a time, over its finite values."""
    rows, _, channels = values.shape
    found = {name: np.zeros((rows, channels)) for name in (*STATISTICS, "nonfinite")}
    for row, channel in np.ndindex(rows, channels):
        column = values[row, :, channel].astype(np.float64)
        kept = column[np.isfinite(column)]
        found["nonfinite"][row, channel] = len(column) - len(kept)
        if len(kept):
            found["mean"][row, channel] = kept.mean()
            found["mean_abs"][row, channel] = np.abs(kept).mean()
            found["std"][row, channel] = kept.std()
            found["abs_max"][row, channel] = np.abs(kept).max()
    return found


def assert_statistics(hidden: torch.Tensor) -> None:
    values = hidden.to(torch.float32).numpy()
    found, reference = token_statistics(hidden), expected(values)
    # The squares of numbers under 1e-19 are none in float32.
    scale = max(np.abs(np.where(np.isfinite(values), values, 0)).max(initial=0), 1e-18)
    for name in STATISTICS:
        assert found[name].dtype == torch.float32
        np.testing.assert_allclose(
            found[name].numpy(), reference[name], rtol=1e-5, atol=1e-5 * scale, err_msg=name
        )
    assert np.array_equal(found["abs_max"].numpy(), reference["abs_max"].astype(np.float32))
    assert np.array_equal(found["nonfinite"].numpy(), reference["nonfinite"])
    assert found["nonfinite"].dtype == found["count"].dtype == torch.int32
    assert found["count"].tolist() == [hidden.shape[1]] * hidden.shape[0]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, SHAPES, elements=FINITE))
def test_finite_values(values) -> None:
    assert_statistics(torch.from_numpy(values))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, SHAPES, elements=ANY))
def test_values_that_are_not_finite_are_counted_and_left_out(values) -> None:
    assert_statistics(torch.from_numpy(values))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_reduced_in_float32(dtype) -> None:
    # 4096 tokens near 100: a sum in half precision is off by whole percents, or infinite.
    hidden = (100 + torch.randn(2, 4096, 3, generator=torch.Generator().manual_seed(0))).to(dtype)
    assert_statistics(hidden)


def test_a_far_mean_does_not_drown_the_spread() -> None:
    # E[x^2] - E[x]^2 in float32 would give 0 or worse here.
    hidden = 3000 + torch.randn(1, 1000, 2, generator=torch.Generator().manual_seed(0))
    found = token_statistics(hidden)["std"].numpy()
    np.testing.assert_allclose(found, hidden.double().numpy().std(axis=1), rtol=1e-3)
    hidden[0, 0, 0] = np.nan
    assert token_statistics(hidden)["std"][0, 0] == pytest.approx(
        hidden[0, 1:, 0].double().numpy().std(), rel=1e-3
    )


def test_the_model_s_tensor_is_left_alone() -> None:
    hidden = torch.tensor([[[1.0], [float("nan")]]])
    before = hidden.clone()
    token_statistics(hidden)
    torch.testing.assert_close(hidden, before, rtol=0, atol=0, equal_nan=True)
