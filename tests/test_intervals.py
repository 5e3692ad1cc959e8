from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ditscope.errors import InputError
from ditscope.intervals import bootstrap_mean, interval_over


def naive(values, cluster, resamples, level, seed):
    """One resample at a time, clusters concatenated."""
    random = np.random.default_rng(seed)
    names = np.unique(cluster)
    means = []
    for _ in range(resamples):
        chosen = random.choice(names, len(names))
        means.append(np.concatenate([values[cluster == name] for name in chosen]).mean())
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2])


def test_agrees_with_a_naive_cluster_bootstrap():
    random = np.random.default_rng(0)
    cluster = np.repeat(np.arange(25), random.integers(1, 5, 25))  # clusters of unequal size
    values = random.normal(size=25)[cluster] + 0.3 * random.normal(size=len(cluster))
    found = bootstrap_mean(values, cluster=cluster, resamples=20_000)
    low, high = naive(values, cluster, 20_000, 0.95, 1)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_clusters_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=10), 20)
    alone = bootstrap_mean(values)
    drawn = bootstrap_mean(values, cluster=np.repeat(np.arange(10), 20))
    assert drawn.high - drawn.low > 3 * (alone.high - alone.low)


def test_coverage():
    random = np.random.default_rng(0)
    samples = random.normal(1.0, 2.0, (600, 40))  # 600 studies of 40 prompts
    found = bootstrap_mean(samples, resamples=500)
    covered = ((found.low <= 1) & (found.high >= 1)).mean()
    assert 0.91 < covered < 0.97


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**31))
def test_bounds_hold_the_mean_of_constant_data_and_stay_in_range(samples, cells, seed):
    random = np.random.default_rng(seed)
    values = random.random((cells, samples))
    found = bootstrap_mean(values, cluster=random.integers(0, 3, samples), resamples=50)
    np.testing.assert_allclose(found.mean, values.mean(1))
    known = ~np.isnan(found.low)
    assert (found.low[known] <= found.high[known]).all()
    assert (found.low[known] >= values.min(1)[known] - 1e-12).all()
    constant = bootstrap_mean(np.full((1, samples), 0.25), resamples=20)
    assert constant.mean[0] == 0.25
    assert samples == 1 or constant.low[0] == constant.high[0] == 0.25


def test_missing_infinite_and_single():
    found = bootstrap_mean(np.array([[1.0, np.nan, 3.0, 2.0], [np.nan] * 4]), resamples=200)
    assert found.mean[0] == pytest.approx(2)
    assert np.isfinite(found.low[0])
    assert np.isnan(found.mean[1])
    assert np.isnan(found.low[1])
    endless = bootstrap_mean(np.array([30.0, 31.0, 32.0, np.inf]), resamples=500)
    assert endless.mean == np.inf
    assert endless.high == np.inf
    assert 30 <= endless.low < 33  # some resamples draw no infinite value
    one = bootstrap_mean(np.array([5.0, 6.0]), cluster=["a", "a"])
    assert one.mean == 5.5
    assert np.isnan(one.low)
    assert np.isnan(one.high)


def test_labelled():
    values = xr.DataArray(
        np.random.default_rng(0).random((3, 8)),
        dims=("edit", "sample"),
        coords={"edit": ["a", "b", "c"], "sample": range(8), "prompt": ("sample", list("aabbccdd"))},
    )
    found = interval_over(values)
    expected = bootstrap_mean(values.values, cluster=list("aabbccdd"))
    np.testing.assert_array_equal(found["low"], expected.low)
    assert found.attrs["clustered_by"] == "prompt"
    assert set(found.coords) == {"edit"}
    assert interval_over(values.drop_vars("prompt")).attrs["clustered_by"] == "sample"


@pytest.mark.parametrize(
    ("options", "words"),
    [({"level": 1.0}, "level"), ({"resamples": 0}, "resamples"), ({"cluster": [1]}, "cluster labels")],
)
def test_refusals(options, words):
    with pytest.raises(InputError, match=words):
        bootstrap_mean(np.arange(4.0), **options)
