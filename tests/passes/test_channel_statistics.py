from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ditscope import passes

REFERENCE = {
    "mean_abs": lambda x: abs(x).mean(-2),
    "abs_mean": lambda x: abs(x.mean(-2)),
    "std": lambda x: x.std(-2),
    "abs_max": lambda x: abs(x).max(-2),
    "energy": lambda x: (x**2).mean(-2),
}


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("chunks", ["default", None])
def test_equals_float64_numpy(make_hidden, dtype, chunks):
    hidden = make_hidden(dtype=dtype, chunks=chunks)
    exact = hidden.values.astype(np.float32 if dtype != np.float64 else dtype).astype(np.float64)
    found = passes.channel_statistics(hidden)
    for name, reference in REFERENCE.items():
        reduce = np.max if name == "abs_max" else np.mean
        np.testing.assert_allclose(found[name], reduce(reference(exact), axis=(0, 1, 2)), rtol=1e-12)


def test_recorded_statistics_give_the_same_numbers(make_hidden, fake_cache):
    hidden = make_hidden()
    stats = passes.token_statistics(hidden).astype(np.float32).compute()
    from_tensors = passes.channel_statistics(hidden)
    from_stats = passes.channel_statistics(fake_cache(stats=stats))
    for name in REFERENCE:
        np.testing.assert_allclose(from_stats[name], from_tensors[name], rtol=1e-5)


def test_recorded_statistics_are_preferred_and_tensors_untouched(make_hidden, fake_cache):
    stats = passes.token_statistics(make_hidden()).compute()
    cache = fake_cache(hidden=None, stats=stats)  # its hidden() raises
    assert set(passes.channel_statistics(cache)["mean_abs"].dims) == {"block", "channel"}


def test_keeping_tokens_reads_tensors(make_hidden, fake_cache):
    hidden = make_hidden()
    stats = passes.token_statistics(hidden).compute() * 0
    found = passes.channel_statistics(fake_cache(hidden, stats), over=("sample", "step", "branch"))
    exact = hidden.values.astype(np.float64)
    np.testing.assert_allclose(
        found["mean_abs"].transpose("block", "token", "channel"), abs(exact).mean((0, 1, 2))
    )
    np.testing.assert_allclose(
        found["abs_mean"].transpose("block", "token", "channel"), abs(exact.mean((0, 1, 2)))
    )


def test_is_lazy(make_hidden):
    from dask.base import is_dask_collection

    hidden = make_hidden()
    poisoned = hidden.copy(
        data=hidden.data.map_blocks(lambda b: 1 / 0, dtype=hidden.dtype, meta=hidden.data._meta)
    )
    assert is_dask_collection(passes.channel_statistics(poisoned)["mean_abs"].data)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_any_shape_and_chunking(samples, tokens, channels, seed):
    random = np.random.default_rng(seed)
    values = random.normal(size=(samples, 1, 1, 2, tokens, channels))
    hidden = xr.DataArray(values, dims=("sample", "step", "branch", "block", "token", "channel"))
    chunked = hidden.chunk({dim: int(random.integers(1, size + 1)) for dim, size in hidden.sizes.items()})
    found = passes.channel_statistics(chunked, over=("step", "branch", "token"))
    for name, reference in REFERENCE.items():
        np.testing.assert_allclose(found[name], reference(values[:, 0, 0]), rtol=1e-10, atol=1e-14)
