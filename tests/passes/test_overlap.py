from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ditscope import passes
from ditscope.channels import ChannelSet
from ditscope.errors import InputError


def by_hand_jaccard(a, b, k):
    a, b = (set(sorted(range(len(x)), key=lambda c: (-x[c], c))[:k]) for x in (a, b))
    return len(a & b) / len(a | b)


def by_hand_rbo(a, b, p, depth):
    """Webber et al. 2010, equation 23, term by term."""
    a, b = (sorted(range(len(x)), key=lambda c: (-x[c], c)) for x in (a, b))
    shared = [len(set(a[:d]) & set(b[:d])) for d in range(1, depth + 1)]
    total = sum(x / d * p**d for d, x in enumerate(shared, start=1))
    return shared[-1] / depth * p**depth + (1 - p) / p * total


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 5), st.integers(2, 12), st.floats(0.05, 0.98), st.integers(0, 2**31))
def test_against_definitions(data, items, channels, p, seed):
    scores = np.random.default_rng(seed).integers(0, 9, (items, channels)).astype(float)  # with ties
    k = data.draw(st.integers(1, channels))
    jaccard, rbo = passes.jaccard(scores, k), passes.rank_biased_overlap(scores, persistence=p, depth=k)
    for i in range(items):
        for j in range(items):
            assert jaccard[i, j] == pytest.approx(by_hand_jaccard(scores[i], scores[j], k))
            assert rbo[i, j] == pytest.approx(by_hand_rbo(scores[i], scores[j], p, k))


def test_spearman_equals_scipy_with_ties():
    scores = np.random.default_rng(0).integers(0, 6, (4, 30)).astype(float)
    np.testing.assert_allclose(passes.spearman(scores), spearmanr(scores, axis=1).statistic, atol=1e-12)


def test_expected_jaccard_is_what_random_sets_reach():
    random = np.random.default_rng(0)
    matrix = passes.jaccard(random.random((300, 40)), 8)
    assert matrix[np.triu_indices(300, 1)].mean() == pytest.approx(passes.expected_jaccard(8, 40), abs=0.002)
    assert passes.expected_jaccard(40, 40) == pytest.approx(1)


def test_rbo_weighs_the_head():
    base = np.arange(100, 0, -1.0)
    head, tail = base.copy(), base.copy()
    head[[0, 9]], tail[[50, 59]] = head[[9, 0]], tail[[59, 50]]
    rbo = passes.rank_biased_overlap(np.stack([base, head, tail]))
    assert rbo[0, 0] == pytest.approx(1)
    assert rbo[0, 1] < rbo[0, 2]


def test_refusals():
    scores = np.eye(3)
    with pytest.raises(InputError, match="k=4"):
        passes.jaccard(scores, 4)
    with pytest.raises(InputError, match="persistence"):
        passes.rank_biased_overlap(scores, persistence=1)
    with pytest.raises(InputError, match="not finite"):
        passes.spearman(np.array([[np.nan, 1.0]]))


def test_two_sets_of_channels_are_compared_block_by_block():
    one = ChannelSet.of({0: [1, 2, 3], 4: [5, 6]})
    other = ChannelSet.of({4: [5, 6], 0: [3, 4, 5]})
    found = passes.jaccard(one, one)
    assert found.dims == ("block",)
    assert found.values.tolist() == [1, 1]
    draws = xr.DataArray(
        [[[1, 2, 3], [3, 7, -1]]] * 2, dims=("block", "draw", "rank"), coords={"block": [0, 4]}
    )
    assert passes.jaccard(one, ChannelSet(draws)).sel(block=0).values.tolist() == [1, 1 / 4]
    assert passes.jaccard(ChannelSet.of([1, 2]), ChannelSet.of([2])).item() == 0.5
    for wrong in (other, ChannelSet.of({0: [1]}), ChannelSet.of({0: [1], 4: [1]}, stream="text")):
        with pytest.raises(InputError, match="sets of one stream at the same places"):
            passes.jaccard(one, wrong)
    with pytest.raises(InputError, match="one ChannelSet"):
        passes.jaccard(one, 12)
