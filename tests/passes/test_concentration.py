from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ditscope import passes
from ditscope.errors import InputError


def array(values):
    return xr.DataArray(np.asarray(values, dtype=float), dims=("channel",))


@given(hnp.arrays(float, st.integers(2, 40), elements=st.floats(0, 1e6, allow_subnormal=False)))
def test_gini_is_the_mean_difference(values):
    if values.sum() == 0:
        assert np.isnan(passes.gini(array(values)))
        return
    expected = abs(values[:, None] - values).mean() / (2 * values.mean())
    np.testing.assert_allclose(passes.gini(array(values)), expected, atol=1e-9)


def test_gini_at_its_ends_and_of_the_leaders():
    assert passes.gini(array(np.ones(50))) == pytest.approx(0)
    assert passes.gini(array([0] * 49 + [3])) == pytest.approx(49 / 50)
    assert passes.gini(array([1] * 40 + [5, 5]), top=2) == pytest.approx(0)
    assert passes.gini(array([np.nan, 1, 1])) == pytest.approx(0)


def test_energy_share():
    energy = array([1, 2, 3, 14])
    assert float(passes.energy_share(energy, 1)) == pytest.approx(0.7)
    assert float(passes.energy_share(energy, 4)) == pytest.approx(1)
    with pytest.raises(InputError, match="k=5"):
        passes.energy_share(energy, 5)


def test_threshold_needs_both_conditions():
    peak = array([150, 150, 50, 0.1, 0.1])
    assert passes.exceeds_threshold(peak, array([1, 1, 0.1, 0.1, 0.1])).values.tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not passes.exceeds_threshold(peak, array([1, 1, 1, 1, 1])).any()  # 150 medians only
    assert passes.exceeds_threshold(peak, array([1] * 5), ratio=100).sum() == 2
    assert passes.exceeds_threshold(peak, array([0.01] * 5), magnitude=40).sum() == 3


def test_ranking_reports_all_measures(make_hidden):
    hidden = make_hidden()
    found = passes.rank_channels(hidden).concentration(3)
    exact = hidden.values.astype(float)
    scores = abs(exact).mean(-2).mean((0, 1, 2))
    ordered = np.sort(scores, axis=-1)[:, ::-1]
    np.testing.assert_allclose(found["top_over_median"], ordered[:, 0] / np.median(scores, axis=-1))
    np.testing.assert_allclose(
        found["top_k_over_median"], ordered[:, :3].mean(-1) / np.median(scores, axis=-1)
    )
    energy = np.sort((exact**2).mean((0, 1, 2, 4)), axis=-1)
    np.testing.assert_allclose(found["energy_share"], energy[:, -3:].sum(-1) / energy.sum(-1))
    assert (found["above_threshold"] == 0).all()


def test_negative_scores_are_refused():
    with pytest.raises(InputError, match="non-negative"):
        passes.gini(array([-1, 2]))


def test_statistics_may_be_lazy():
    values = np.random.default_rng(2).random((3, 8))
    names = ("mean_abs", "abs_max", "energy")
    loaded = xr.Dataset({name: (("block", "channel"), values + at) for at, name in enumerate(names)})
    found = passes.measure_concentration(loaded.chunk(channel=3), k=2)
    xr.testing.assert_identical(found, passes.measure_concentration(loaded, k=2))
    xr.testing.assert_identical(passes.gini(loaded["energy"].chunk(channel=3)), passes.gini(loaded["energy"]))
