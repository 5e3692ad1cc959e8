"""Ranges of channels, against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope import passes
from ditscope.errors import InputError


def test_ranges_equal_numpy(make_hidden, fake_cache) -> None:
    hidden = make_hidden().assign_coords(sigma=("step", [1.0, 0.5, 0.1]))
    found = passes.channel_ranges(fake_cache(hidden), (50, 99.9))
    size = abs(hidden.values.astype(np.float64))  # [sample, step, branch, block, token, channel]
    peaks = size.max(4)
    np.testing.assert_array_equal(found["abs_max"], peaks.max(0))
    np.testing.assert_array_equal(found["least_abs_max"], peaks.min(0))
    expected = np.percentile(size, [50, 99.9], axis=4).mean(1)
    np.testing.assert_allclose(found["at_percentile"], expected, rtol=1e-12)
    assert found["at_percentile"].dims == ("percentile", "step", "branch", "block", "channel")
    assert found["sigma"].values.tolist() == [1.0, 0.5, 0.1]


def test_values_that_are_not_finite_are_left_out(make_hidden) -> None:
    hidden = make_hidden(samples=2, steps=1, branches=1, blocks=1, chunks=None, dtype=np.float32)
    hidden[0, ..., 5, 3] = np.inf
    hidden[:, ..., 7] = np.nan
    with pytest.warns(UserWarning, match="ids 3, 7"):
        found = passes.channel_ranges(hidden, 99)
    kept = np.delete(abs(hidden.values[0, 0, 0, 0, :, 3]), 5)
    other = abs(hidden.values[1, 0, 0, 0, :, 3])
    assert found["abs_max"].values[0, 0, 0, 3] == max(kept.max(), other.max())
    expected = (np.percentile(kept.astype(float), 99) + np.percentile(other.astype(float), 99)) / 2
    assert found["at_percentile"].values[0, 0, 0, 0, 3] == pytest.approx(expected)
    assert found["at_percentile"].isel(channel=7).isnull().all()


def test_bad_input(make_hidden) -> None:
    for percentiles in ([], [101], [float("nan")]):
        with pytest.raises(InputError, match="percentile"):
            passes.channel_ranges(make_hidden(), percentiles)
