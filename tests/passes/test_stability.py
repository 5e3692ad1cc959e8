from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom
from scipy.stats import t as student

from ditscope import passes
from ditscope.errors import InputError

FAST = {"permutations": 20, "resamples": 100, "k": 5}


def top(row, k=5):
    return set(np.argsort(-row, kind="stable")[:k])


def jaccard(a, b):
    return len(top(a) & top(b)) / len(top(a) | top(b))


def noisy(make_hidden):
    """Channels of nearly equal magnitude, so that every pair of rankings differs."""
    return make_hidden(spread=1.3)


@pytest.fixture
def scores(make_hidden):
    """``[sample, step, branch, block, channel]``: the mean of abs over tokens, by numpy."""
    return abs(noisy(make_hidden).values.astype(float)).mean(-2)


def test_mean_jaccard_by_hand(make_hidden, scores):
    found = passes.stability(noisy(make_hidden), across=["sample", "step", "branch", "block"], **FAST)
    at = found["agreement"].sel(measure="jaccard")
    samples = scores.mean((1, 2))
    pairs = [jaccard(samples[a, b], samples[c, b]) for b in range(4) for a, c in combinations(range(6), 2)]
    assert at.sel(across="sample") == pytest.approx(np.mean(pairs))
    steps = scores.mean(2)
    pairs = [
        jaccard(steps[s, a, b], steps[s, c, b])
        for s in range(6)
        for b in range(4)
        for a, c in combinations(range(3), 2)
    ]
    assert at.sel(across="step") == pytest.approx(np.mean(pairs))
    branches = scores.mean(1)
    pairs = [jaccard(branches[s, 0, b], branches[s, 1, b]) for s in range(6) for b in range(4)]
    assert at.sel(across="branch") == pytest.approx(np.mean(pairs))
    blocks = scores.mean((1, 2))
    pairs = [jaccard(blocks[s, a], blocks[s, b]) for s in range(6) for a, b in combinations(range(4), 2)]
    assert at.sel(across="block") == pytest.approx(np.mean(pairs))


def test_prompt_and_seed_compare_the_right_pairs(make_hidden, scores):
    found = passes.stability(noisy(make_hidden), across=["prompt", "seed"], **FAST)
    samples, prompt, seed = scores.mean((1, 2)), np.arange(6) // 2, np.arange(6) % 2
    chosen = {
        "prompt": [
            (a, b) for a, b in combinations(range(6), 2) if prompt[a] != prompt[b] and seed[a] == seed[b]
        ],
        "seed": [(a, b) for a, b in combinations(range(6), 2) if prompt[a] == prompt[b]],
    }
    for name, pairs in chosen.items():
        expected = np.mean(
            [jaccard(samples[a, block], samples[b, block]) for a, b in pairs for block in range(4)]
        )
        assert found["agreement"].sel(across=name, measure="jaccard") == pytest.approx(expected)


def test_matrices_are_labelled_and_symmetric(make_hidden, scores):
    found = passes.stability(noisy(make_hidden), across=["sample", "step", "block"], **FAST)
    matrix = found["jaccard_step"].sel(block=2)
    expected = [
        [np.mean([jaccard(s[a], s[b]) for s in scores.mean(2)[:, :, 2]]) for a in range(3)] for b in range(3)
    ]
    np.testing.assert_allclose(matrix, expected)
    assert found["jaccard_sample"].dims == ("sample", "sample_other")
    assert found["jaccard_block"].dims == ("block", "block_other")
    assert found["jaccard_block"].attrs["chance"] == pytest.approx(passes.expected_jaccard(5, 24))


def test_equal_rankings_agree_fully_and_beat_the_null(make_hidden):
    one = make_hidden(samples=1, steps=1, dtype=np.float32, chunks=None)
    same = xr.concat(
        [one.assign_coords(sample=[i], prompt=("sample", [f"{i}"])) for i in range(5)], dim="sample"
    )
    found = passes.stability(same, across=["sample"], permutations=99, resamples=50, k=5).isel(across=0)
    np.testing.assert_allclose(found["agreement"], 1)
    np.testing.assert_allclose(found["low"], 1)
    assert (found["p_value"] == 0.01).all()
    assert (found["null_high"] < 0.6).all()


def test_unrelated_rankings_look_like_the_null(make_hidden):
    random = np.random.default_rng(0)
    hidden = make_hidden(
        samples=12, steps=1, branches=1, blocks=1, channels=60, dtype=np.float32, chunks=None
    )
    values = random.normal(size=hidden.shape) * random.gamma(1, size=(12, 1, 1, 1, 1, 60))
    found = passes.stability(hidden.copy(data=values), across=["sample"], permutations=200, k=8)
    assert (found["p_value"] > 0.02).all()
    assert found["null"].sel(measure="jaccard") == pytest.approx(passes.expected_jaccard(8, 60), abs=0.01)
    assert abs(found["null"].sel(measure="spearman")) < 0.02


def test_a_ranking_that_averaged_goes_back_to_its_source(make_hidden, fake_cache):
    hidden = make_hidden()
    direct = passes.stability(hidden, **FAST)
    xr.testing.assert_equal(direct, passes.stability(passes.rank_channels(hidden), **FAST))
    kept = passes.rank_channels(hidden, over=("branch", "token"))
    object.__setattr__(kept, "source", None)  # what it kept is enough
    xr.testing.assert_allclose(direct, passes.stability(kept, **FAST))


def test_the_rankings_statistic_is_used(make_hidden):
    ranking = passes.rank_channels(make_hidden(), statistic="abs_max")
    found = passes.stability(ranking, **FAST)
    xr.testing.assert_equal(found, passes.stability(make_hidden(), statistic="abs_max", **FAST))
    assert found.attrs["statistic"] == "abs_max"


def test_intervals_draw_prompts(make_hidden):
    # Two prompts with opposite rankings: within a prompt agreement is 1, across it is low.
    hidden = make_hidden(samples=8, steps=1, branches=1, blocks=1, dtype=np.float32, chunks=None)
    rising = np.linspace(1, 2, 24)
    values = np.where((np.arange(8) < 4)[:, None], rising, rising[::-1])[:, None, None, None, None]
    hidden = hidden.copy(data=np.broadcast_to(values, hidden.shape).copy())
    labels = [f"p{i // 4}" for i in range(8)]
    found = passes.stability(hidden.assign_coords(prompt=("sample", labels)), across=["sample"], **FAST)
    row = found.sel(across="sample", measure="jaccard")
    assert row["agreement"] == pytest.approx(12 / 28)
    assert row["high"] == 1  # a resample that draws one prompt twice
    alone = passes.stability(
        hidden.assign_coords(prompt=("sample", [str(i) for i in range(8)])), across=["sample"], **FAST
    )
    assert alone.sel(across="sample", measure="jaccard")["high"] < 1


def test_without_samples_there_is_no_interval(make_hidden):
    ranking = passes.rank_channels(make_hidden(), over=("sample", "branch", "token"))
    object.__setattr__(ranking, "source", make_hidden().isel(sample=0))
    found = passes.stability(ranking, across=["step"], **FAST)
    assert found["low"].isnull().all()
    assert found["agreement"].notnull().all()


def test_non_finite_channels_are_left_out_and_named(make_hidden):
    hidden = make_hidden(dtype=np.float32, chunks=None)
    hidden[2, 0, 0, 0, 0, 9] = np.nan
    with pytest.warns(UserWarning, match="1 channels.*ids 9.*left out"):
        found = passes.stability(hidden, across=["sample"], **FAST)
    xr.testing.assert_allclose(
        found["agreement"],
        passes.stability(hidden.drop_sel(channel=9), across=["sample"], **FAST)["agreement"],
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"across": ["time"]}, "'time'"),
        ({"across": ["step"], "k": 25}, "k=25"),
        ({"statistic": "max"}, "'max'"),
        ({"permutations": 0}, "permutations"),
        ({"persistence": 1.0}, "persistence"),
        ({"stream": "text"}, "stream='image'"),
    ],
)
def test_bad_input(make_hidden, options, words):
    with pytest.raises(InputError, match=words):
        passes.stability(make_hidden(), **options)


def test_too_few_items(make_hidden):
    with pytest.raises(InputError, match="one step"):
        passes.stability(make_hidden(steps=1), across=["step"], k=3)
    with pytest.raises(InputError, match="two seeds of one prompt"):
        passes.stability(
            make_hidden(samples=2).assign_coords(prompt=("sample", ["a", "b"])), across=["seed"], k=3
        )
    with pytest.raises(InputError, match="prompt"):
        passes.stability(make_hidden().drop_vars("prompt"), across=["prompt"], k=3)


def study(random, *, samples=16, steps=2, channels=16, shared=()):
    """Recorded statistics of 8 prompts x 2 seeds: one profile for each label of ``shared``, or independent ones."""
    size = dict(sample=samples, step=steps, branch=2, block=2, channel=channels)
    coords = {
        "sample": range(samples),
        "prompt": ("sample", [f"p{i // 2}" for i in range(samples)]),
        "seed": ("sample", np.arange(samples) % 2),
    }
    noise = xr.DataArray(random.random(tuple(size.values())), dims=tuple(size), coords=coords)
    for name in shared:  # things of one label are almost the same, those of another are unrelated
        codes = np.unique(noise[name], return_inverse=True)[1] if name in noise.coords else range(size[name])
        dim = "sample" if name in ("prompt", "seed") else name
        profiles = xr.DataArray(random.random((max(codes) + 1, channels))[codes], dims=(dim, "channel"))
        noise = 0.05 * noise + profiles
    return xr.Dataset(dict.fromkeys(("mean", "mean_abs", "std", "abs_max"), noise))


ACROSS = ["sample", "prompt", "seed", "step", "branch", "block"]


def rejected(trials, across, **options):
    """How often ``p <= 0.05``, ``[across, measure]``, in studies of other random seeds."""
    quick = {"k": 4, "permutations": 19, "resamples": 2}
    return sum(
        (passes.stability(study(np.random.default_rng(trial), **options), across=across, **quick)["p_value"] <= 0.05)
        for trial in range(trials)
    )


def test_p_values_hold_their_level_where_nothing_is_related():
    counts = rejected(100, ACROSS)
    # Binomial of 100 at 0.05; 18 of them, so the bound is exceeded once in 60 if all is right.
    assert (counts <= binom.isf(0.001, 100, 0.05)).all()
    assert counts.sum() >= binom.ppf(0.001, 600, 0.05)  # and they are not merely cautious


@pytest.mark.parametrize("name", ["prompt", "seed", "step", "branch", "block"])
def test_p_values_hold_their_level_where_all_else_is_shared(name):
    """Samples at one step may be alike though steps are unrelated: they are no independent evidence."""
    assert (rejected(60, [name], shared=[name]) <= binom.isf(0.001, 60, 0.05)).all()


def test_p_values_find_what_is_related():
    for name, others in (("step", ["prompt"]), ("seed", ["prompt"]), ("prompt", ["seed"]), ("block", ["sample"])):
        result = passes.stability(
            study(np.random.default_rng(0), shared=others), across=[name], k=4, permutations=99, resamples=2
        )
        assert (result["p_value"] == 0.01).all(), name


def test_intervals_across_prompts_cover():
    """Jaccard across samples of 8 prompts with unequal noise; the docstring states 93 % and more."""
    random = np.random.default_rng(0)
    results = []
    for _ in range(150):
        noise = random.lognormal(0, 0.6, 8).repeat(2)[:, None]
        scores = 5 + np.linspace(0, 2, 30) + noise * random.normal(size=(16, 30))
        data = study(random, steps=1, channels=30)
        data = data.isel(step=[0]) * 0 + xr.DataArray(scores, dims=("sample", "channel"))
        results.append(
            passes.stability(abs(data), across=["sample", "seed"], k=6, permutations=1, resamples=1)
            .sel(measure="jaccard")
            .drop_vars(["jaccard_sample"])
        )
    joined = xr.concat(results, dim="trial")
    truth = joined["agreement"].mean("trial")
    covered = ((joined["low"] <= truth) & (truth <= joined["high"])).mean("trial")
    assert (covered >= 0.89).all()
    assert (covered <= 1).all()
    assert (joined["high"] - joined["low"]).median() < 0.4


def test_pair_intervals_leave_one_prompt_out():
    from ditscope.passes.stability import _pair_interval

    random = np.random.default_rng(0)
    codes = np.array([0, 0, 0, 1, 1, 2, 3])
    matrix, pairs = random.random((7, 7)), np.triu(random.random((7, 7)) < 0.8, 1)
    mean, low, high = _pair_interval(matrix[None], pairs, codes, 0.9)
    left_out = [
        np.mean([matrix[a, b] for a, b in np.argwhere(pairs) if gone not in (codes[a], codes[b])])
        for gone in range(4)
    ]
    error = np.sqrt(3 / 4 * np.square(np.array(left_out) - matrix[pairs].mean()).sum())
    np.testing.assert_allclose([mean[0], (low[0] + high[0]) / 2], matrix[pairs].mean())
    np.testing.assert_allclose(high[0] - mean[0], student.ppf(0.95, 3) * error)


def test_large_studies_are_tested_on_spread_groups(make_hidden, monkeypatch):
    module = sys.modules["ditscope.passes.stability"]
    whole = passes.stability(noisy(make_hidden), across=ACROSS, **FAST)
    assert whole["tested"].values.tolist() == [4, 4, 4, 24, 24, 6]
    monkeypatch.setattr(module, "_NULL_VALUES", 500)
    part = passes.stability(noisy(make_hidden), across=ACROSS, **FAST)
    assert (part["tested"] < whole["tested"]).all()
    assert (part["tested"] >= 1).all()
    xr.testing.assert_equal(part["agreement"], whole["agreement"])
    assert (abs(part["null"] - whole["null"]) < 0.1).all()
