"""Overlap and rank correlation against sets and scipy; the null against permutations by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import ditscope as ds
from ditscope.errors import InputError


@pytest.fixture
def two(make_hidden):
    """One model, and another that shares its scores in part, its samples in another order."""
    first = make_hidden(samples=6, blocks=4, edge=3, channels=24, dtype=np.float32, chunks=None, spread=6)
    other = make_hidden(
        samples=6, blocks=4, edge=3, channels=24, dtype=np.float32, chunks=None, spread=6, seed=9
    )
    second = first.copy(data=first.values + 0.8 * other.values)
    return first, second.isel(sample=[4, 2, 0, 5, 1, 3])


def scores(hidden) -> np.ndarray:
    """``[sample, block, channel]`` of mean_abs in float64."""
    return abs(hidden.sortby("sample").values.astype(float)).mean((1, 2, 4))


def overlap(one: np.ndarray, other: np.ndarray, k: int) -> float:
    a, b = (set(np.argsort(-each, kind="stable")[:k]) for each in (one, other))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("chunks", [None, {"sample": 2, "block": 3}])
def test_each_sample_is_compared_with_its_own(two, chunks) -> None:
    pair = two if chunks is None else [each.chunk(chunks) for each in two]
    found = ds.passes.agreement(*pair, k=5, permutations=20)
    one, other = map(scores, two)
    for sample in range(6):
        for block in range(4):
            own = found["by_sample"].sel(sample=sample, block=block)
            assert own.sel(measure="jaccard") == overlap(one[sample, block], other[sample, block], 5)
            expected = spearmanr(one[sample, block], other[sample, block]).statistic
            assert float(own.sel(measure="spearman")) == pytest.approx(expected)
    interval = ds.intervals.interval_over(found["by_sample"])
    for name, of in (("agreement", "mean"), ("low", "low")):
        np.testing.assert_allclose(found[name], interval[of])
    assert (found["high"] <= 1).all()
    whole = ds.intervals.interval_over(found["by_sample"].mean("block"))
    np.testing.assert_allclose(found["overall"], whole["mean"])
    assert interval.attrs["clustered_by"] == "prompt"


def test_the_null_permutes_all_rankings_of_the_second_alike(two) -> None:
    found = ds.passes.agreement(*two, k=5, permutations=300, seed=4)
    one, other = map(scores, two)
    random = np.random.default_rng(1)
    null = []
    for _ in range(300):
        moved = other[..., random.permutation(24)]
        pairs = [[overlap(one[s, b], moved[s, b], 5) for b in range(4)] for s in range(6)]
        null.append(np.mean(pairs, axis=0))
    spread = np.std(null, axis=0) / np.sqrt(300)
    assert (abs(found["null"].values - np.mean(null, axis=0)) < 5 * spread).all()
    assert found.attrs["chance"] == pytest.approx(ds.passes.expected_jaccard(5, 24))
    assert float(found["overall_p_value"]) <= 2 / 301
    unrelated = two[1].assign_coords(channel=range(24)).isel(channel=random.permutation(24))
    apart = ds.passes.agreement(two[0], unrelated.assign_coords(channel=range(24)), k=5, permutations=300)
    assert float(apart["overall_p_value"]) > 0.01


def test_models_of_other_depth_are_matched_by_depth(two) -> None:
    first, second = two[0], two[1].isel(block=[0, 3]).assign_coords(block=[0, 1])
    with pytest.raises(InputError, match=r"blocks \[0, 1, 2, 3\] and \[0, 1\]"):
        ds.passes.agreement(first, second)
    found = ds.passes.agreement(first, second, depths=(4, 2), k=5, permutations=5)
    assert found["block_other"].values.tolist() == [0, 0, 1, 1]
    assert found["block"].values.tolist() == [0, 1, 2, 3]
    one, other = map(scores, (first, second))
    expected = [overlap(one[0, block], other[0, at], 5) for block, at in enumerate([0, 0, 1, 1])]
    assert found["by_sample"].sel(measure="jaccard", sample=0).values.tolist() == expected
    with pytest.raises(InputError, match=r"depths=\(3, 2\)"):
        ds.passes.agreement(first, second, depths=(3, 2))


def test_channels_that_are_not_finite_are_left_out(two) -> None:
    values = two[1].values.copy()
    values[0, 0, 0, 0, 0, 7] = np.nan
    with pytest.warns(UserWarning, match="ids 7"):
        found = ds.passes.agreement(two[0], two[1].copy(data=values), k=5, permutations=5)
    without = [each.drop_sel(channel=7) for each in two]
    assert found["by_sample"].equals(ds.passes.agreement(*without, k=5, permutations=5)["by_sample"])


def test_what_does_not_correspond_is_refused(two) -> None:
    first, second = two
    for other, words in (
        (second.isel(sample=slice(5)), "6 and 5 samples, 5 of one prompt and seed"),
        (second.assign_coords(seed=("sample", [5, 6, 7, 8, 9, 10])), "0 of one prompt and seed"),
        (second.isel(channel=slice(20)), "24 and 20 channels"),
        (second.drop_vars("seed"), "samples without seed"),
    ):
        with pytest.raises(InputError, match=words):
            ds.passes.agreement(first, other)
    with pytest.raises(InputError, match="k=25"):
        ds.passes.agreement(first, second, k=25)


def test_gate_and_magnitude_of_one_cache(two, fake_cache) -> None:
    """The gate, which has one value a channel, and at some of the blocks only."""
    first = two[0]
    gate = abs(first).mean("token").isel(block=[1, 3]).assign_attrs(site="attn_gate", stream="image")

    class Both(fake_cache):
        def stats(self, stream="image", site="block_output"):
            if site == "attn_gate":
                from ditscope.cache.recorded import statistics_of_one

                return statistics_of_one(gate)
            raise KeyError

    cache = Both(first)
    found = ds.passes.agreement(cache, cache, second_site="attn_gate", k=5, permutations=50)
    assert found["block"].values.tolist() == [1, 3]
    assert (found["agreement"] == 1).all() or (found["agreement"].sel(measure="jaccard") == 1).all()
    assert (found["p_value"] <= 2 / 51).all()
