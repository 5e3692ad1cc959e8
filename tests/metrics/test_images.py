from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy.signal import convolve2d

from ditscope import metrics
from ditscope.errors import InputError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (3, 20, 24, 3), dtype=np.uint8)
OTHERS = np.clip(IMAGES + RANDOM.normal(0, 30, IMAGES.shape), 0, 255).astype(np.uint8)


def reference_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004 with a full 2-D window and weighted moments, one colour at a time."""
    offset = np.arange(-5, 6)
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    window /= window.sum()

    def moment(values):
        return convolve2d(values, window, mode="valid")

    maps = []
    for colour in range(a.shape[-1]):
        x, y = a[..., colour] / 255, b[..., colour] / 255
        mx, my = moment(x), moment(y)
        vx, vy, cov = moment(x * x) - mx**2, moment(y * y) - my**2, moment(x * y) - mx * my
        c1, c2 = 0.01**2, 0.03**2
        maps.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(maps))


def test_ssim_equals_an_independent_reference():
    expected = [reference_ssim(a, b) for a, b in zip(IMAGES, OTHERS, strict=True)]
    np.testing.assert_allclose(metrics.ssim(IMAGES, OTHERS), expected, rtol=1e-9)
    luma = [(x @ [0.299, 0.587, 0.114])[..., None] for x in (IMAGES.astype(float), OTHERS.astype(float))]
    expected = [reference_ssim(a, b) for a, b in zip(*luma, strict=True)]
    np.testing.assert_allclose(metrics.ssim(IMAGES, OTHERS, space="luminance"), expected, rtol=1e-9)


def test_psnr_and_difference_by_hand():
    a, b = np.zeros((12, 12, 3), dtype=np.uint8), np.full((12, 12, 3), 51, dtype=np.uint8)
    assert metrics.psnr(a, b) == pytest.approx(-20 * np.log10(0.2))
    assert metrics.mean_abs_difference(a, b) == pytest.approx(0.2)
    assert metrics.psnr(a, a) == np.inf
    # uint8 arithmetic would wrap: 0 - 51 = 205
    assert metrics.psnr(a, b) == pytest.approx(float(metrics.psnr(a / 255, b / 255)))


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, (2, 12, 13, 3)))
def test_properties(pair):
    a, b = pair
    assert metrics.ssim(a, a) == pytest.approx(1)
    assert metrics.ssim(a, b) == pytest.approx(float(metrics.ssim(b, a)))
    assert -1 <= metrics.ssim(a, b) <= 1
    assert 0 <= metrics.mean_abs_difference(a, b) <= 1
    assert 0 <= metrics.high_frequency_energy(a) <= 1


def test_leading_dims_are_kept_and_reference_broadcasts():
    batch = IMAGES[:2].reshape(2, 1, 20, 24, 3)
    for metric in (metrics.psnr, metrics.ssim, metrics.mean_abs_difference):
        found = metric(np.broadcast_to(batch, (2, 4, 20, 24, 3)), OTHERS[0])
        assert found.shape == (2, 4)
        np.testing.assert_allclose(found[1, 2], metric(IMAGES[1], OTHERS[0]))
    assert metrics.high_frequency_energy(batch).shape == (2, 1)


@pytest.mark.parametrize("frequency", [4 / 64, 12 / 64, 20 / 64, 28 / 64])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_wave_is_on_its_side_of_the_cutoff(frequency, axis):
    place = np.indices((64, 64))[axis]
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * frequency * place)
    image = np.repeat(wave[..., None], 3, axis=-1)
    share = metrics.high_frequency_energy(image, cutoff=0.25)
    assert share == pytest.approx(float(frequency > 0.25), abs=1e-3)


def test_flat_images_and_brightness_do_not_count():
    flat = np.full((32, 32, 3), 0.7)
    assert metrics.high_frequency_energy(flat) == 0
    ramp = np.repeat(np.linspace(0, 1, 64)[None, :, None], 64, axis=0).repeat(3, axis=2)
    assert metrics.high_frequency_energy(ramp) < 0.01  # opposite edges differ, but that is no detail
    noise = RANDOM.random((64, 64, 3)) * 0.5
    np.testing.assert_allclose(
        metrics.high_frequency_energy(noise), metrics.high_frequency_energy(noise + 0.4)
    )


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


def test_pairs_must_fit():
    with pytest.raises(InputError, match="one size"):
        metrics.psnr(IMAGES, OTHERS[:, :10])
    with pytest.raises(InputError, match="one size"):
        metrics.psnr(IMAGES, OTHERS[:2])
    with pytest.raises(InputError, match="at least 11"):
        metrics.ssim(IMAGES[:, :10], OTHERS[:, :10])
    with pytest.raises(InputError, match="'ycbcr'"):
        metrics.ssim(IMAGES, OTHERS, space="ycbcr")
    with pytest.raises(InputError, match="cutoff"):
        metrics.high_frequency_energy(IMAGES, cutoff=0.6)
