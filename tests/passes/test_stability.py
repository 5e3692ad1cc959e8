from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom

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


ACROSS = ["sample", "prompt", "seed", "step", "branch", "block"]


def profiles(random, name, *, samples=16, channels=16, shared=None):
    """Scores of two seeds a prompt: independent ones, or one profile for each label of ``shared``."""
    size = {"sample": samples, "block": 2}
    size |= {name: 3} if name in ("step", "branch", "block") else {}
    noise = random.random((*size.values(), channels))
    coords = {"prompt": np.arange(samples) // 2, "seed": np.arange(samples) % 2}
    if shared is not None:  # things of one label are almost the same, those of another are unrelated
        dim = shared if shared in size else "sample"
        codes = coords.get(shared, np.arange(size[dim]))
        alone = random.random((codes.max() + 1, channels))[codes]
        axes = [axis for axis, other in enumerate(size) if other != dim]
        noise = 0.05 * noise + np.expand_dims(alone, axes)
    scores = xr.DataArray(noise, dims=(*size, "channel"))
    scores = scores.assign_coords({dim: range(length) for dim, length in size.items()})
    scores = scores.assign_coords({label: ("sample", values) for label, values in coords.items()})
    none = xr.zeros_like(scores, dtype=int)
    return xr.Dataset({"mean_abs": scores, "nonfinite": none, "saturated": none})


def measured(data, *names, **settings):
    """What ``stability`` makes of scores, without what it takes to read them."""
    module = sys.modules["ditscope.passes.stability"]
    options = {"k": 4, "persistence": 0.9, "level": 0.95, "resamples": 2, "permutations": 19, "seed": 0}
    chosen = module._Settings(**options | settings)
    found = module._assemble(module._compare(dict.fromkeys(names, data), chosen), chosen)
    return found.isel(across=0) if len(names) == 1 else found


def rejected(trials, name, **options):
    """How often ``p <= 0.05``, ``[measure]``, in studies of other random seeds."""
    studies = (profiles(np.random.default_rng(trial), name, **options) for trial in range(trials))
    return sum((measured(data, name)["p_value"] <= 0.05).values for data in studies)


def test_p_values_keep_their_level_where_nothing_is_related():
    counts = np.stack([rejected(60, name, samples=16 if name in ACROSS[:3] else 4) for name in ACROSS])
    # Binomial of 60 at 0.05; 18 of them, so that one exceeds the bound once in 60 suites if all is right.
    assert (counts <= binom.isf(0.001, 60, 0.05)).all()
    assert counts.sum() >= 32  # of 54 expected: they are not merely cautious


@pytest.mark.parametrize("name", ACROSS[1:])
def test_p_values_keep_their_level_where_all_else_is_shared(name):
    """Samples at one step may be alike though steps are unrelated: they are no independent evidence."""
    counts = rejected(60, name, samples=16 if name in ACROSS[:3] else 4, shared=name)
    assert (counts <= binom.isf(0.001, 60, 0.05)).all()


@pytest.mark.parametrize("name", ACROSS)
def test_p_values_find_what_is_related(name):
    random = np.random.default_rng(0)
    data = profiles(random, name, samples=8)
    data["mean_abs"] += xr.DataArray(3 * random.random(16), dims="channel")
    assert (measured(data, name, permutations=99)["p_value"] <= 0.03).all()


def test_intervals_over_pairs_cover():
    """Jaccard at 8 prompts with unequal noise; the docstring states 92.6 % and more, less 2.5 standard errors."""
    random = np.random.default_rng(0)
    results = []
    for _ in range(150):
        data = profiles(random, "sample", channels=30)
        noise = random.lognormal(-0.5, 0.8, 8).repeat(2)[:, None, None]
        own = random.normal(size=(8, 1, 30)).repeat(2, 0) + random.normal(size=(16, 2, 30))
        data["mean_abs"] = data["mean_abs"].copy(data=np.linspace(0, 2, 30) + noise * own)
        found = measured(data, "sample", "prompt", "seed", permutations=1)
        results.append(found[["agreement", "low", "high"]].isel(measure=0).to_dataarray().values)
    agreement, low, high = np.moveaxis(results, 1, 0)  # [study, across]
    expected = agreement.mean(axis=0)
    covered = ((low <= expected) & (expected <= high)).mean(axis=0)
    assert ((covered > 0.87) & (covered < 0.99)).all(), covered


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


def test_clipped_channels_are_named(make_hidden):
    hidden = make_hidden(dtype=np.float16, chunks=None)
    assert passes.stability(hidden, across="step", k=3).attrs["saturated"] == 0
    hidden[3, 1, 0, 2, 0, 9] = 65504
    for across in ("step", "sample"):
        with pytest.warns(UserWarning, match=r"1 channels with values at the limit of float16 \(ids 9\)"):
            assert passes.stability(hidden, across=across, k=3).attrs["saturated"] == 1


def test_prompts_that_were_cut_to_the_same_tokens_are_one_prompt(make_hidden):
    """Three prompts with two seeds; the second is the first, cut, and brings the same states."""
    hidden = noisy(make_hidden).load()
    hidden[2:4] = hidden[:2].values
    marked = hidden.assign_coords(encoded_text=("sample", list("aaaacc")))
    across = ("prompt", "seed", "sample")
    as_it_is = passes.stability(hidden, across=across, k=5)
    assert as_it_is.attrs["encoded_alike"] == 0
    with pytest.warns(UserWarning, match=r"1 prompts were cut to the tokens of another.*'prompt 1'"):
        found = passes.stability(marked, across=across, k=5)
    assert found.attrs["encoded_alike"] == 1
    jaccard = found["jaccard_sample"].values
    different = [(a, b) for a in range(4) for b in (4, 5) if a % 2 == b % 2]
    all_but_twins = [(a, b) for a in range(6) for b in range(a) if (a, b) not in [(2, 0), (3, 1)]]
    for name, pairs in {"prompt": different, "sample": all_but_twins}.items():
        expected = np.mean([jaccard[pair] for pair in pairs])
        assert found["agreement"].sel(across=name, measure="jaccard") == pytest.approx(expected)
        assert expected < as_it_is["agreement"].sel(across=name, measure="jaccard")
    unknown = hidden.assign_coords(encoded_text=("sample", [""] * 6))
    xr.testing.assert_identical(
        passes.stability(unknown, across="prompt", k=5)["agreement"],
        as_it_is["agreement"].sel(across=["prompt"]),
    )
