"""Intervals against scipy, by hand, and by how often they cover what they should."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import t as student

from ditscope.errors import InputError
from ditscope.intervals import (
    bootstrap_error,
    bootstrap_mean,
    interval_over,
    paired_difference,
    student_interval,
    wilson_interval,
)

EFFECTS = {
    "normal": (np.random.Generator.normal, 0.0),
    "exponential": (np.random.Generator.exponential, 1.0),
    "lognormal": (np.random.Generator.lognormal, np.exp(0.5)),
}


def naive(values, cluster, resamples, level, seed):
    """One resample at a time, its clusters in a list."""
    random = np.random.default_rng(seed)
    groups = [values[cluster == name] for name in np.unique(cluster)]
    count = len(groups)

    def error(chosen, mean):
        """The plain standard error of a mean over clusters."""
        off = [(group - mean).sum() for group in chosen]
        return np.sqrt(count / (count - 1) * np.square(off).sum()) / sum(map(len, chosen))

    mean = values.mean()
    left_out = [np.concatenate(groups[:i] + groups[i + 1 :]).mean() for i in range(count)]
    jackknife = np.sqrt((count - 1) / count * np.square(left_out - mean).sum())
    ratios = []
    for _ in range(resamples):
        chosen = [groups[i] for i in random.integers(0, count, count)]
        drawn = np.concatenate(chosen).mean()
        ratios.append((drawn - mean) / max(error(chosen, drawn), error(groups, mean) / 3))
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    least = student.ppf((1 + level) / 2, count - 1)
    return mean - jackknife * max(high, least), mean - jackknife * min(low, -least)


def test_agrees_with_a_naive_cluster_bootstrap():
    random = np.random.default_rng(0)
    cluster = np.repeat(np.arange(14), random.integers(1, 5, 14))  # clusters of unequal size
    values = random.exponential(size=14)[cluster] + 0.3 * random.normal(size=len(cluster))
    interval = bootstrap_mean(values, cluster=cluster, resamples=20_000)
    low, high = naive(values, cluster, 20_000, 0.95, 1)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(low, abs=0.01)
    assert interval.high == pytest.approx(high, abs=0.05)
    assert high - values.mean() > 1.3 * (values.mean() - low)  # the long tail is on the side of the skew


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize(
    ("effects", "floor"), [("normal", 0.93), ("exponential", 0.905), ("lognormal", 0.865)]
)
def test_coverage_at_twelve_clusters(effects, floor, unequal):
    """1,500 studies; the floor is 2.5 standard errors below what the docstring states for unequal clusters."""
    random = np.random.default_rng(0)
    draw, truth = EFFECTS[effects]
    cluster = np.repeat(np.arange(12), np.resize([1, 1, 2, 3, 8], 12) if unequal else 1)
    values = draw(random, size=(1500, 12))[:, cluster] + 0.5 * unequal * random.normal(
        size=(1500, len(cluster))
    )
    interval = bootstrap_mean(values, cluster=cluster, resamples=400)
    covered = ((interval.low <= truth) & (interval.high >= truth)).mean()
    assert floor - 0.02 * unequal < covered < 0.98


def test_clusters_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=10), 20)
    alone = bootstrap_mean(values)
    drawn = bootstrap_mean(values, cluster=np.repeat(np.arange(10), 20))
    assert drawn.high - drawn.low > 3 * (alone.high - alone.low)


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_no_bound_is_nearer_than_students_t(clusters):
    values = np.random.default_rng(0).normal(size=clusters)
    interval = bootstrap_mean(values)
    low, high = student.interval(0.95, clusters - 1, values.mean(), values.std(ddof=1) / np.sqrt(clusters))
    assert interval.low <= low + 1e-12
    assert interval.high >= high - 1e-12
    if clusters == 2:  # a resample is one of the two, or both: it has nothing to add
        np.testing.assert_allclose([interval.low, interval.high], [low, high])


def test_one_outlier_does_not_send_the_bounds_away():
    values = np.append(0.99 + 1e-4 * np.random.default_rng(0).normal(size=11), 0.5)
    interval = bootstrap_mean(values)
    assert 0.7 < interval.low < 0.9


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**31))
def test_bounds_lie_about_the_mean_and_shrink_to_constant_data(samples, rows, seed):
    random = np.random.default_rng(seed)
    values = random.random((rows, samples))
    cluster = random.integers(0, 3, samples)
    interval = bootstrap_mean(values, cluster=cluster, resamples=50)
    np.testing.assert_allclose(interval.mean, values.mean(1))
    known = np.isfinite(interval.low)
    assert known.all() == (len(np.unique(cluster)) > 1)
    assert (interval.low <= interval.mean)[known].all()
    assert (interval.mean <= interval.high)[known].all()
    constant = bootstrap_mean(np.full((1, samples), 0.25), resamples=20)
    assert constant.mean[0] == 0.25
    assert samples == 1 or constant.low[0] == constant.high[0] == 0.25


def test_missing_values_are_left_out():
    values = np.array([[1.0, np.nan, 3.0, 2.0, np.nan], [np.nan] * 5, [4.0, *[np.nan] * 4]])
    interval = bootstrap_mean(values, resamples=200)
    known = bootstrap_mean(np.array([1.0, 3.0, 2.0]))
    assert interval.mean[0] == 2
    np.testing.assert_allclose([interval.low[0], interval.high[0]], [known.low, known.high])
    assert np.isnan(interval.mean[1])
    assert interval.mean[2] == 4
    assert np.isnan([interval.low[1:], interval.high[1:]]).all()
    one = bootstrap_mean(np.array([5.0, 6.0]), cluster=["a", "a"])
    assert one.mean == 5.5
    assert np.isnan([one.low, one.high]).all()


def test_infinities_are_kept():
    interval = bootstrap_mean(np.array([[30.0, 31.0, 32.0, np.inf], [1.0, 2.0, 3.0, 4.0]]), resamples=500)
    assert interval.mean[0] == interval.high[0] == np.inf
    assert 30 <= interval.low[0] < 33  # some resamples draw no infinite value
    assert np.isfinite([interval.low[1], interval.high[1]]).all()
    assert bootstrap_mean(np.array([1.0, 2.0, -np.inf])).low == -np.inf
    assert np.isnan(bootstrap_mean(np.array([np.inf, -np.inf, 1.0])).mean)


def test_draws_are_seeded_and_shared_by_the_leading_dims():
    values = np.random.default_rng(0).exponential(size=20)
    one = bootstrap_mean(values)
    assert one == bootstrap_mean(values)
    assert one != bootstrap_mean(values, seed=1)
    np.testing.assert_allclose(bootstrap_mean(np.stack([values, values])).high, one.high)


def test_labelled():
    values = xr.DataArray(
        np.random.default_rng(0).random((3, 8)),
        dims=("edit", "sample"),
        coords={"edit": ["a", "b", "c"], "sample": range(8), "prompt": ("sample", list("aabbccdd"))},
    )
    interval = interval_over(values)
    expected = bootstrap_mean(values.values, cluster=list("aabbccdd"))
    np.testing.assert_array_equal(interval["low"], expected.low)
    assert interval.attrs["clustered_by"] == "prompt"
    assert set(interval.coords) == {"edit"}
    assert interval_over(values.drop_vars("prompt")).attrs["clustered_by"] == "sample"
    assert interval_over(values.expand_dims(metric=2))["mean"].dims == ("metric", "edit")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"level": 1.0}, "level"), ({"resamples": 0}, "resamples"), ({"cluster": [1]}, "cluster labels")],
)
def test_refusals(options, words):
    with pytest.raises(InputError, match=words):
        bootstrap_mean(np.arange(4.0), **options)


def conditions():
    random = np.random.default_rng(0)
    coords = {"sample": np.arange(40), "prompt": ("sample", [f"p{i // 2}" for i in range(40)])}
    base = xr.DataArray(random.normal(0, 10, 40), dims="sample", coords=coords)
    return base + random.normal(1, 0.5, 40), base


def test_pairing_removes_what_samples_share():
    edited, base = conditions()
    difference = paired_difference(edited, base)
    assert difference["low"] > 0.8
    assert difference["high"] < 1.4
    assert difference["mean"] == pytest.approx(float((edited - base).mean()))
    assert difference.attrs["clustered_by"] == "prompt"


def test_pairs_are_matched_by_label():
    edited, base = conditions()
    shuffled = base.isel(sample=np.random.default_rng(1).permutation(40))
    xr.testing.assert_equal(paired_difference(edited, base), paired_difference(edited, shuffled))
    with pytest.raises(InputError, match="not the same ones"):
        paired_difference(edited, base[:30])
    with pytest.raises(InputError, match="'sample'"):
        paired_difference(edited.mean(), base)


@given(st.integers(1, 300), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(trials, data, level):
    successes = data.draw(st.integers(0, trials))
    expected = binomtest(successes, trials).proportion_ci(level, method="wilson")
    interval = wilson_interval(successes, trials, level=level)
    np.testing.assert_allclose([interval.low, interval.high], [expected.low, expected.high], atol=1e-9)
    assert interval.low <= interval.mean <= interval.high


def test_wilson_refuses_impossible_counts():
    for successes, trials in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(InputError, match="trials"):
            wilson_interval(successes, trials)


def test_limits_add_a_cluster_at_each_end():
    values = np.array([0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 1.0])
    interval = bootstrap_mean(values, limits=(-1, 1))
    more = np.append(values, [-1, 1])
    half = student.ppf(0.975, 11) * more.std(ddof=1) / np.sqrt(14)
    np.testing.assert_allclose(
        [interval.low, interval.mean, interval.high], [more.mean() - half, -1 / 12, more.mean() + half]
    )
    # Answers that are all the same are no certainty, and a mean at a limit is in its interval.
    same = bootstrap_mean(np.zeros(12), limits=(-1, 1))
    assert same.low < -0.2
    assert same.high > 0.2
    every = bootstrap_mean(np.ones(40), limits=(0, 1))
    assert every.low < 0.98
    assert every.mean == every.high == 1


def test_limits_go_by_clusters():
    values = np.repeat([0, -1, 0, 0, 0, 0.0], 5)
    cluster = np.repeat(np.arange(6), 5)
    interval = bootstrap_mean(values, cluster=cluster, limits=(-1, 1))
    expected = bootstrap_mean(values[::5], limits=(-1, 1))
    np.testing.assert_allclose(interval, expected)
    assert np.isnan(bootstrap_mean(values[:5], cluster=cluster[:5], limits=(-1, 1)).low)


def several(edits, prompts=14):
    random = np.random.default_rng(3)
    common = random.normal(size=prompts)
    return xr.DataArray(
        common + random.exponential(size=(2, edits, prompts)),
        dims=("metric", "edit", "sample"),
        coords={"prompt": ("sample", [f"p{i}" for i in range(prompts)])},
    )


def test_intervals_that_hold_together_are_wider_but_no_wider_than_bonferronis():
    values = several(5)
    alone, together = interval_over(values), interval_over(values, together="edit")
    strict = interval_over(values, level=1 - 0.05 / 5)
    assert together["low"].dims == ("metric", "edit")
    xr.testing.assert_allclose(alone["mean"], together["mean"])
    for bound, sign in (("low", -1), ("high", 1)):
        assert (sign * together[bound] > sign * alone[bound]).all()
        assert (sign * together[bound] <= sign * strict[bound] + 1e-12).all()
    # Each metric is a family of its own, whatever dim comes last.
    xr.testing.assert_allclose(interval_over(values[:1], together="edit"), together.isel(metric=[0]))
    turned = interval_over(values.transpose("edit", "sample", "metric"), together="edit")
    xr.testing.assert_allclose(turned.transpose("metric", "edit"), together)
    one = values.isel(edit=[0])
    xr.testing.assert_allclose(interval_over(one, together="edit"), interval_over(one))


def test_copies_of_one_edit_are_no_family():
    values = several(1).isel(edit=[0] * 5)
    together, alone = interval_over(values, together="edit"), interval_over(values)
    np.testing.assert_allclose(together["high"], alone["high"], rtol=0.02)
    assert (together["high"] < interval_over(values, level=1 - 0.05 / 5)["high"]).all()


def test_what_has_no_spread_or_no_end_does_not_spoil_the_others():
    values = several(3).values[0]
    still = bootstrap_mean(np.stack([*values, np.zeros(14), np.full(14, np.nan)]), together=True)
    np.testing.assert_allclose(still.high[:3], bootstrap_mean(values, together=True).high)
    assert still.low[3] == still.high[3] == 0
    assert np.isnan(still.low[4])
    endless = np.where(np.arange(14) == 2, np.inf, values[0])
    mixed = bootstrap_mean(np.stack([endless, *values[1:]]), together=True)
    np.testing.assert_allclose(mixed.high[1:], bootstrap_mean(values[1:], level=1 - 0.05 / 3).high)
    assert mixed.high[0] == np.inf


def test_the_error_of_a_set_is_that_of_its_mean_over_clusters():
    random = np.random.default_rng(0)
    values, cluster = random.normal(size=(2, 60)), np.repeat(np.arange(20), 3)
    error = bootstrap_error(lambda rows: values[:, rows].mean(1), 60, cluster=cluster, resamples=4000)
    means = values.reshape(2, 20, 3).mean(-1)
    np.testing.assert_allclose(error, means.std(1) / np.sqrt(20), rtol=0.05)
    assert np.isnan(bootstrap_error(lambda rows: values[0, rows].mean(), 60, cluster=["a"] * 60))


def test_students_interval_equals_scipy():
    mean, error = np.array([1.0, 2.0]), np.array([0.5, 0.1])
    for together in (1, 4):
        low, high = student.interval(1 - 0.05 / together, 11, mean, error)
        found = student_interval(mean, error, 12, together=together)
        np.testing.assert_allclose([found.low, found.high], [low, high])
