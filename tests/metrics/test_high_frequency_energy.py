from __future__ import annotations

import numpy as np
import pytest
from pairs import IMAGES

from ditscope import metrics
from ditscope.errors import InputError


@pytest.mark.parametrize("frequency", [4 / 64, 12 / 64, 20 / 64, 28 / 64])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_wave_is_on_its_side_of_the_cutoff(frequency, axis):
    position = np.indices((64, 64))[axis]
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * frequency * position)
    image = np.repeat(wave[..., None], 3, axis=-1)
    share = metrics.high_frequency_energy(image, cutoff=0.25)
    assert share == pytest.approx(float(frequency > 0.25), abs=1e-3)


def test_flat_images_and_brightness_do_not_count():
    flat = np.full((32, 32, 3), 0.7)
    assert metrics.high_frequency_energy(flat) == 0
    ramp = np.repeat(np.linspace(0, 1, 64)[None, :, None], 64, axis=0).repeat(3, axis=2)
    assert metrics.high_frequency_energy(ramp) < 0.01  # opposite edges differ, but that is no detail
    noise = np.random.default_rng(0).random((64, 64, 3)) * 0.5
    np.testing.assert_allclose(
        metrics.high_frequency_energy(noise), metrics.high_frequency_energy(noise + 0.4)
    )


def test_leading_dims_are_kept():
    assert metrics.high_frequency_energy(IMAGES[:, None]).shape == (3, 1)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((3, 20, 20), dtype=np.uint8), r"\[..., y, x, rgb\]"),
        (np.full((20, 20, 3), -0.5), "-0.5"),
        (np.full((20, 20, 3), 255.0), "255"),
        (np.full((20, 20, 3), np.nan), "nan"),
        (np.zeros((20, 20, 3), dtype=int), "int64"),
        (np.zeros((0, 20, 20, 3), dtype=np.uint8), "shape"),
    ],
)
def test_wrong_ranges_and_shapes_are_refused(images, words):
    with pytest.raises(InputError, match=words):
        metrics.high_frequency_energy(images)


def test_a_cutoff_beyond_nyquist_is_refused():
    with pytest.raises(InputError, match="cutoff"):
        metrics.high_frequency_energy(IMAGES, cutoff=0.6)
