"""Rank correlation against scipy's, of the places that two measurements share."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

import ditscope as ds
from ditscope.errors import InputError


@pytest.fixture
def effects() -> tuple[xr.DataArray, xr.DataArray]:
    random = np.random.default_rng(0)
    dims = ("sample", "step", "block", "channel")
    first = xr.DataArray(
        random.integers(-4, 5, (4, 2, 3, 6)).astype(np.float32),  # with ties
        dims=dims,
        coords={"step": [0, 3], "channel": range(6), "prompt": ("sample", ["a", "a", "b", "c"])},
    )
    second = (first + random.normal(0, 2, first.shape)).isel(channel=[5, 0, 2, 3]).transpose(*dims[::-1])
    second[{"sample": 1, "step": 0, "block": 2}] = np.nan
    return first, second


def test_it_is_spearmans_over_common_places(effects) -> None:
    first, second = effects
    found = ds.passes.rank_agreement(first, second)
    for sample in range(4):
        for step in (0, 3):
            one = first.isel(sample=sample).sel(step=step, channel=[0, 2, 3, 5])
            other = second.isel(sample=sample).sel(step=step, channel=[0, 2, 3, 5])
            pairs = [array.transpose("block", "channel").values.ravel() for array in (one, other)]
            expected = spearmanr(*pairs, nan_policy="omit").statistic
            assert float(found["spearman"].isel(sample=sample).sel(step=step)) == pytest.approx(expected)
    assert found["places"].sel(step=0).values.tolist() == [12, 8, 12, 12]
    mean = ds.intervals.interval_over(np.arctanh(found["spearman"]))
    for name in ("mean", "low", "high"):
        assert np.allclose(found[name], np.tanh(mean[name]))
    assert found.attrs["clustered_by"] == "prompt"


def test_other_dims_than_those_ranked_over_are_kept(effects) -> None:
    found = ds.passes.rank_agreement(*effects, over=["channel"])
    assert set(found["spearman"].dims) == {"sample", "step", "block"}
    assert np.isnan(found["spearman"].isel(sample=1, step=0, block=2))


def test_no_interval_reaches_beyond_one(effects) -> None:
    first, second = effects
    found = ds.passes.rank_agreement(second, 2 * second + 1)
    assert found["spearman"].values == pytest.approx(1)
    assert found["mean"].values == pytest.approx(1, abs=1e-5)
    nearly = ds.passes.rank_agreement(first, second * 0.1 + first)
    assert (nearly["high"] < 1).all()
    assert (nearly["low"] < nearly["mean"]).all()


def test_equal_and_too_few_places_have_no_order(effects) -> None:
    first, second = effects
    assert ds.passes.rank_agreement(first * 0, second)["spearman"].isnull().all()
    assert (
        ds.passes.rank_agreement(first, second.isel(channel=[0, 1]), over=["channel"])["spearman"]
        .isnull()
        .all()
    )


@pytest.mark.parametrize("change", [{"dim": "channel"}, {"dim": "sample"}, {"channel": [10, 11, 12, 13]}])
def test_what_cannot_be_compared_is_refused(effects, change) -> None:
    first, second = effects
    other = second.isel({change["dim"]: 0}) if "dim" in change else second.assign_coords(change)
    with pytest.raises(InputError):
        ds.passes.rank_agreement(first, other)
