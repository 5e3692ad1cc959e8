from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ditscope import metrics
from ditscope.errors import InputError


@given(st.integers(1, 300), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(trials, data, level):
    successes = data.draw(st.integers(0, trials))
    expected = binomtest(successes, trials).proportion_ci(level, method="wilson")
    found = metrics.wilson_interval(successes, trials, level=level)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], atol=1e-9)
    assert found.low <= found.mean <= found.high


def test_wilson_refuses_impossible_counts():
    for successes, trials in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(InputError, match="trials"):
            metrics.wilson_interval(successes, trials)


def conditions():
    random = np.random.default_rng(0)
    coords = {"sample": np.arange(40), "prompt": ("sample", [f"p{i // 2}" for i in range(40)])}
    base = xr.DataArray(random.normal(0, 10, 40), dims="sample", coords=coords)
    return base + random.normal(1, 0.5, 40), base


def test_pairing_removes_what_samples_share():
    edited, base = conditions()
    found = metrics.paired_difference(edited, base)
    assert found["low"] > 0.8
    assert found["high"] < 1.4
    assert found["mean"] == pytest.approx(float((edited - base).mean()))
    assert found.attrs["clustered_by"] == "prompt"


def test_pairs_are_matched_by_label():
    edited, base = conditions()
    shuffled = base.isel(sample=np.random.default_rng(1).permutation(40))
    xr.testing.assert_equal(
        metrics.paired_difference(edited, base), metrics.paired_difference(edited, shuffled)
    )
    with pytest.raises(InputError, match="not the same ones"):
        metrics.paired_difference(edited, base[:30])
    with pytest.raises(InputError, match="'sample'"):
        metrics.paired_difference(edited.mean(), base)


def test_bootstrap_is_seeded_and_clustered():
    delta = np.repeat(np.random.default_rng(0).normal(size=8), 5)
    prompts = np.repeat(np.arange(8), 5)
    one = metrics.paired_bootstrap(delta, cluster=prompts)
    assert one == metrics.paired_bootstrap(delta, cluster=prompts)
    assert one != metrics.paired_bootstrap(delta, cluster=prompts, seed=1)
    assert one.high - one.low > 1.5 * np.subtract(*metrics.paired_bootstrap(delta)[:0:-1])


def test_interval_keeps_other_dims():
    delta = xr.DataArray(np.random.default_rng(0).random((2, 3, 10)), dims=("edit", "draw", "sample"))
    found = metrics.paired_interval(delta.mean("draw"))
    assert found["mean"].dims == ("edit",)
    np.testing.assert_allclose(found["mean"], delta.mean(("draw", "sample")))
