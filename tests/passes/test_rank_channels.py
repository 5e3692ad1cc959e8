from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.errors import InputError

DIMS = ("sample", "step", "branch", "block", "token", "channel")


def reference_order(hidden: xr.DataArray) -> np.ndarray:
    scores = abs(hidden.values.astype(np.float64)).mean(-2).mean((0, 1, 2))
    return np.array([sorted(range(len(row)), key=lambda c: (-row[c], c)) for row in scores])


def test_order_is_that_of_a_float64_reference(make_hidden):
    hidden = make_hidden()
    np.testing.assert_array_equal(passes.rank_channels(hidden).order, reference_order(hidden))


@pytest.mark.parametrize("statistic", ["mean_abs", "abs_mean"])
def test_the_two_disputed_statistics_disagree_on_mixed_signs(statistic):
    values = np.zeros((1, 1, 1, 1, 100, 2))
    values[..., 0] = np.random.default_rng(0).normal(0, 10, 100)  # large, mixed sign
    values[..., 1] = 2  # small, one sign
    ranking = passes.rank_channels(xr.DataArray(values, dims=DIMS), statistic=statistic)
    assert ranking.top(1)[0].tolist() == [0 if statistic == "mean_abs" else 1]


def test_ties_go_to_the_lower_channel():
    values = np.ones((1, 1, 1, 1, 4, 6))
    values[..., 4] = 2
    ranking = passes.rank_channels(xr.DataArray(values, dims=DIMS))
    assert ranking.order.values.tolist() == [[4, 0, 1, 2, 3, 5]]
    shuffled = (
        xr.DataArray(values, dims=DIMS).assign_coords(channel=np.arange(6)).isel(channel=[5, 2, 4, 0, 1, 3])
    )
    assert passes.rank_channels(shuffled).order.values.tolist() == [[4, 0, 1, 2, 3, 5]]


def test_recorded_channel_ids_are_true_ids(make_hidden):
    hidden = make_hidden().assign_coords(channel=np.arange(24) * 100 + 7)
    expected = reference_order(hidden)[2, :3] * 100 + 7
    assert passes.rank_channels(hidden).top(3)[2].tolist() == expected.tolist()


def test_kept_dimensions_have_a_ranking_each(make_hidden):
    hidden = make_hidden()
    ranking = passes.rank_channels(hidden, over=("step", "branch", "token"))
    assert set(ranking.kept) == {"sample", "block"}
    one = passes.rank_channels(hidden.isel(sample=[4]))
    np.testing.assert_array_equal(ranking.top(5).sel(sample=4)[1], one.top(5)[1])
    whole = passes.rank_channels(hidden, over=(*DIMS[:-1],))
    assert whole.top(3)["any name"].shape == (3,)


def test_non_finite_channels_are_reported_and_never_ranked(make_hidden):
    hidden = make_hidden(dtype=np.float32, chunks=None)
    hidden[0, 0, 0, 1, 0, 5] = np.inf
    hidden[0, 0, 0, 1, 0, 6] = np.nan
    with pytest.warns(UserWarning, match="2 channels with NaN or infinity.*5, 6.*excluded"):
        ranking = passes.rank_channels(hidden)
    assert ranking.excluded.sel(block=1, channel=[5, 6]).all()
    assert ranking.excluded.sum() == 2
    assert ranking.ranked == 22
    sets = [ranking.top(22), ranking.bottom(22), ranking.middle(22), ranking.random(22, draws=3).draw(2)]
    assert all(not {5, 6} & set(s[1]) for s in sets)
    with pytest.raises(InputError, match="1 to 22"):
        ranking.top(23)


def test_unknown_statistic_is_refused_before_any_work(make_hidden):
    with pytest.raises(InputError, match=r"'kurtosis'.*'mean_abs'"):
        passes.rank_channels(None, statistic="kurtosis")


def clipped(make_hidden):
    """Channel 5 clipped in a step of the first sample at block 1, and channel 6 near the limit there."""
    hidden = make_hidden(dtype=np.float16, chunks=None)
    hidden[0, 1, 0, 1, 3, 5] = -65504
    hidden[0, 1, 0, 1, 3, 6] = 65472
    return hidden


@pytest.mark.parametrize("recorded", [False, True], ids=["tensors", "statistics"])
def test_channels_with_clipped_values_are_ranked_and_named(make_hidden, recorded):
    hidden = clipped(make_hidden)
    source = passes.token_statistics(hidden).astype(np.float32) if recorded else hidden
    with pytest.warns(UserWarning, match=r"1 channels with values at the limit of float16 \(ids 5\)"):
        ranking = passes.rank_channels(source)
    marked = ranking.saturated
    assert marked.sel(block=1, channel=5)
    assert marked.sum() == 1
    assert not ranking.excluded.any()
    assert ranking.scores["saturated"].sel(block=1, channel=5)
    assert "1 saturated (*)" in repr(ranking)
    assert re.search(r"double.1 .* 5\* \(", repr(ranking))
    with pytest.warns(UserWarning, match="limit of float16"):
        by_step = passes.rank_channels(source, over=("sample", "branch", "token"))
    assert by_step.statistics["saturated"].sum("channel").sel(block=1).values.tolist() == [0, 1, 0]


def test_statistics_that_do_not_say_their_dtype_are_held_to_the_limits_of_all(make_hidden):
    statistics = passes.token_statistics(clipped(make_hidden)).drop_attrs()
    with pytest.warns(UserWarning, match=r"at the limit of their dtype \(ids 5\)"):
        ranking = passes.rank_channels(statistics)
    assert ranking.resolution.isnull().all()


def test_the_resolution_is_the_dtype_s_spacing_at_the_mean_magnitude(make_hidden):
    hidden = make_hidden()
    hidden[..., 3] = 3000
    ranking = passes.rank_channels(hidden)
    expected = np.spacing(ranking.statistics["mean_abs"].values.astype(ml_dtypes.bfloat16)).astype(float)
    size = ranking.statistics["mean_abs"].values.astype(ml_dtypes.bfloat16).astype(float)
    below = size <= ranking.statistics["mean_abs"].values  # those that are not rounded up to the next step
    assert np.array_equal(ranking.resolution.values[below], expected[below])
    assert (ranking.resolution.sel(channel=3) == 16).all()
    assert ", step 16)" in repr(ranking)
