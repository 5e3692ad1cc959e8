from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.errors import InputError


def statistics(scores: np.ndarray) -> xr.Dataset:
    """Recorded statistics with these mean_abs scores ``[sample, block, channel]``."""
    full = xr.DataArray(scores[:, None, None], dims=("sample", "step", "branch", "block", "channel"))
    return xr.Dataset({"mean": full, "mean_abs": full, "std": full, "abs_max": full})


def spark(scores, k, ema, batch_size, window, tau, patience):
    """The rule as SPARK words it, one batch at a time."""
    average, sets, recent, seen = None, None, [], 0
    for start in range(0, len(scores) - batch_size + 1, batch_size):
        mean = scores[start : start + batch_size].mean(0)
        average = mean if average is None else ema * average + (1 - ema) * mean
        seen += batch_size
        if (seen // batch_size) % window == 0:
            now = [set(np.argsort(-row)[:k]) for row in average]
            if sets is not None:
                recent.append([len(a & b) / len(a | b) for a, b in zip(now, sets, strict=True)])
            sets = now
            if len(recent) >= patience and (np.mean(recent[-patience:], axis=0) >= tau).all():
                return seen
    return None


@pytest.mark.parametrize("noise", [0.05, 0.5, 3.0])
def test_replays_the_rule(noise):
    random = np.random.default_rng(1)
    scores = np.exp(random.normal(size=(1, 3, 40)) + noise * random.normal(size=(240, 3, 40)))
    options = {"k": 6, "ema": 0.8, "batch_size": 4, "window": 2, "tau": 0.9, "patience": 3}
    found = passes.samples_needed(statistics(scores), **options)
    expected = spark(scores, **options)
    assert (np.isnan(found["needed"][0]) and expected is None) or found["needed"][0] == expected
    assert found.attrs.get("stop") == expected
    assert found.attrs["tau"] == 0.9


def test_fixed_rankings_stop_at_the_first_decision():
    scores = np.tile(np.arange(20.0), (640, 2, 1))
    found = passes.samples_needed(statistics(scores), k=4)
    assert found["needed"].values.tolist() == [16 * 5 * 5]
    assert found["samples"].values.tolist() == [160, 240, 320, 400, 480, 560, 640]
    assert (found["jaccard"] == 1).all()


def test_one_unstable_block_holds_the_stop_back():
    scores = np.tile(np.arange(20.0), (400, 2, 1))
    scores[:, 1] = np.random.default_rng(0).permuted(scores[:, 1], axis=-1)
    found = passes.samples_needed(statistics(scores), k=4, ema=0.0, batch_size=2, window=1)
    assert found["needed"].isnull().all()
    assert found["jaccard"].sel(block=0).min() == 1


def test_orders_are_reproducible():
    scores = np.exp(np.random.default_rng(0).normal(size=(80, 1, 30)))
    options = {"k": 5, "batch_size": 2, "window": 2, "patience": 2, "orders": 4}
    found = passes.samples_needed(statistics(scores), **options)
    xr.testing.assert_equal(found, passes.samples_needed(statistics(scores), **options))
    assert not np.array_equal(found["jaccard"][0], found["jaccard"][1])


def test_bad_settings():
    stats = statistics(np.ones((10, 1, 8)))
    with pytest.raises(InputError, match="at least 400"):
        passes.samples_needed(stats, k=2)
    with pytest.raises(InputError, match="k=9"):
        passes.samples_needed(stats, k=9)
    with pytest.raises(InputError, match="ema"):
        passes.samples_needed(stats, k=2, ema=1.0)
