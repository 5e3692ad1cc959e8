from __future__ import annotations

import numpy as np
import pytest
from pairs import IMAGES

from ditscope import metrics
from ditscope.errors import InputError


def grating(frequency: float) -> np.ndarray:
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * frequency * np.arange(64))
    return np.repeat(np.tile(wave, (64, 1))[..., None], 3, axis=-1)


def test_a_grating_has_its_energy_in_the_band_of_its_frequency():
    bands = [(0, 0.0625), (0.0625, 0.25), (0.25, 1)]
    for frequency, band in zip((0.03, 0.15, 0.4), bands, strict=True):
        shares = [metrics.band_energy(grating(frequency), low=low, high=high) for low, high in bands]
        assert shares[bands.index(band)] > 0.95


def test_bands_that_follow_each_other_add_up_to_one():
    edges = [0, 0.05, 0.1, 0.25, 1]
    shares = [
        metrics.band_energy(IMAGES, low=low, high=high)
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    np.testing.assert_allclose(np.sum(shares, axis=0), 1, rtol=1e-12)
    np.testing.assert_array_equal(shares[3], metrics.high_frequency_energy(IMAGES))
    assert metrics.band_energy(np.full((20, 20, 3), 0.5)) == 0


def test_a_comparison_takes_a_band_by_its_options():
    middle = metrics.METRICS["band_energy"].with_options(low=0.0625, high=0.25)
    assert middle.name == "band_energy(low=0.0625, high=0.25)"
    assert middle.label == "energy share in a band of frequencies (low=0.0625, high=0.25)"
    expected = metrics.band_energy(IMAGES, low=0.0625, high=0.25)
    np.testing.assert_array_equal(metrics.resolve(middle)[middle.name](IMAGES), expected)


@pytest.mark.parametrize("band", [(-0.1, 0.2), (0.2, 0.2), (0.5, 1.0), (float("nan"), 0.2)])
def test_what_is_no_band_is_refused(band):
    with pytest.raises(InputError, match="0 <= low < high"):
        metrics.band_energy(IMAGES, low=band[0], high=band[1])
