"""Statistics over tokens against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.utils._python_dispatch import TorchDispatchMode

from ditscope.recording import device_statistics
from ditscope.vocabulary import RECORDED_STATISTICS

SHAPES = array_shapes(min_dims=3, max_dims=3, max_side=6)
FINITE = st.floats(-1e4, 1e4, width=32)
STATISTICS = (*RECORDED_STATISTICS, "nonfinite", "count", "saturated")
ANY = FINITE | st.sampled_from([np.nan, np.inf, -np.inf])


def token_statistics(hidden: torch.Tensor, real: torch.Tensor | None = None) -> dict[str, np.ndarray]:
    """The statistics by name."""
    reduced = device_statistics.token_statistics(hidden, real)
    assert reduced.dtype == torch.float32
    return {name: reduced[:, position].numpy() for position, name in enumerate(STATISTICS)}


def expected(values: np.ndarray, real: np.ndarray | None = None, limit: float = 0) -> dict[str, np.ndarray]:
    """The definitions, one channel at a time, over its finite values; NaN for none."""
    rows, _, channels = values.shape
    result = {name: np.full((rows, channels), np.nan) for name in STATISTICS}
    for row, channel in np.ndindex(rows, channels):
        column = values[row, :, channel].astype(np.float64)
        column = column if real is None else column[real[row]]
        kept = column[np.isfinite(column)]
        result["nonfinite"][row, channel] = len(column) - len(kept)
        result["count"][row, channel] = len(column)
        result["saturated"][row, channel] = (np.abs(column) == limit).sum()
        if len(kept):
            result["mean"][row, channel] = kept.mean()
            result["mean_abs"][row, channel] = np.abs(kept).mean()
            result["std"][row, channel] = kept.std()
            result["abs_max"][row, channel] = np.abs(kept).max()
    return result


def assert_statistics(hidden: torch.Tensor, real: torch.Tensor | None = None) -> None:
    values = hidden.to(torch.float32).numpy()
    reduced = token_statistics(hidden, real)
    limit = torch.finfo(hidden.dtype).max
    reference = expected(values, None if real is None else real.numpy(), limit)
    # The squares of numbers under 1e-19 are none in float32.
    scale = max(np.abs(np.where(np.isfinite(values), values, 0)).max(initial=0), 1e-18)
    for name in RECORDED_STATISTICS:
        np.testing.assert_allclose(reduced[name], reference[name], rtol=1e-5, atol=1e-5 * scale, err_msg=name)
    for name in ("abs_max", "nonfinite", "count", "saturated"):
        assert np.array_equal(reduced[name], reference[name].astype(np.float32), equal_nan=True), name


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
    std = token_statistics(hidden)["std"]
    np.testing.assert_allclose(std, hidden.double().numpy().std(axis=1), rtol=1e-3)
    hidden[0, 0, 0] = np.nan
    assert token_statistics(hidden)["std"][0, 0] == pytest.approx(
        hidden[0, 1:, 0].double().numpy().std(), rel=1e-3
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_padding_is_left_out_and_not_counted(data) -> None:
    values = data.draw(arrays(np.float32, SHAPES, elements=ANY))
    real = data.draw(arrays(bool, values.shape[:2]))
    assert_statistics(torch.from_numpy(values), torch.from_numpy(real))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_values_at_the_limit_of_the_model_s_own_dtype_are_counted(dtype) -> None:
    """In bfloat16 and float32 sums of such values are infinite, so only the counts are compared."""
    limit = torch.finfo(dtype).max
    hidden = torch.tensor([[[limit, 65504.0], [-limit, limit / 2], [torch.inf, torch.nan]]]).to(dtype)
    counts = [[2, 1 if dtype == torch.float16 else 0]]
    assert token_statistics(hidden)["saturated"].tolist() == counts
    assert token_statistics(hidden, torch.tensor([[False, True, True]]))["saturated"].tolist() == [[1, 0]]
    if dtype == torch.float16:
        assert_statistics(hidden)


def test_a_channel_without_a_finite_value_has_no_statistics() -> None:
    hidden = torch.tensor([[[float("nan"), 1.0], [float("inf"), 3.0]]])
    reduced = token_statistics(hidden)
    for name in RECORDED_STATISTICS:
        assert np.isnan(reduced[name][0, 0]), name
        assert np.isfinite(reduced[name][0, 1]), name
    assert reduced["nonfinite"].tolist() == [[2, 0]]


@pytest.mark.parametrize("shape", [(1, 256, 128), (3, 96, 128), (2, 4096, 5)])
def test_finite_values_are_as_exact_as_float32_is(shape) -> None:
    hidden = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, shape[-1])
    reduced, exact = token_statistics(hidden), hidden.double()
    # A mean near 0 is as exact as what it is the mean of.
    np.testing.assert_array_less(
        np.abs(reduced["mean"] - exact.mean(dim=1).numpy()), 2e-7 * exact.abs().mean(dim=1).numpy()
    )
    for name, value in {"std": exact.std(dim=1, correction=0), "mean_abs": exact.abs().mean(dim=1)}.items():
        np.testing.assert_allclose(reduced[name], value.numpy(), rtol=5e-7, err_msg=name)


def test_a_mean_ten_million_times_the_spread_does_not_drown_it() -> None:
    hidden = 30000 + 0.01 * torch.randn(1, 1000, 4, generator=torch.Generator().manual_seed(0))
    std = token_statistics(hidden)["std"]
    np.testing.assert_allclose(std, hidden.double().numpy().std(axis=1), rtol=1e-3)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 3e38, torch.finfo(torch.float32).max])
def test_a_row_does_not_change_with_the_others(odd, monkeypatch) -> None:
    """Whatever is reduced with it, and however many values are reduced together."""
    hidden = torch.randn(5, 64, 3, generator=torch.Generator().manual_seed(0))
    real = torch.rand(5, 64, generator=torch.Generator().manual_seed(1)) > 0.2
    hidden[2, 5, 1], real[2, 5] = odd, True
    for mask in (None, real):
        monkeypatch.setitem(device_statistics._TOGETHER, "cpu", 2**17)
        whole = device_statistics.token_statistics(hidden, mask)
        for values in (64 * 3, 2 * 64 * 3):
            monkeypatch.setitem(device_statistics._TOGETHER, "cpu", values)
            parts = device_statistics.token_statistics(hidden, mask)
            assert np.array_equal(parts, whole, equal_nan=True)
        assert_statistics(hidden[[0, 1, 3, 4]], None if mask is None else mask[[0, 1, 3, 4]])


def test_values_whose_squares_are_infinite_have_a_spread() -> None:
    hidden = 1e25 * torch.randn(2, 100, 3, generator=torch.Generator().manual_seed(0))
    assert_statistics(hidden)


class Waiting(TorchDispatchMode):
    """Counts what waits for a device: taking a value out of a tensor."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.count += function in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
        )
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("real", [None, torch.ones(2, 5, dtype=torch.bool)])
def test_the_device_is_waited_for_once(real) -> None:
    with Waiting() as waiting:
        device_statistics.token_statistics(torch.randn(2, 5, 3), real)
    assert waiting.count == 1


def test_the_model_s_tensor_is_left_alone() -> None:
    hidden = torch.tensor([[[1.0], [float("nan")]]])
    before = hidden.clone()
    token_statistics(hidden)
    torch.testing.assert_close(hidden, before, rtol=0, atol=0, equal_nan=True)
