"""PSNR of a part, beside the PSNR of an image that is that part."""

from __future__ import annotations

import numpy as np
import pytest
from pairs import IMAGES, OTHERS

from ditscope import metrics
from ditscope.errors import InputError

LEFT = np.zeros((40, 44), bool)
LEFT[:, :11] = True


def test_it_is_the_psnr_of_the_part() -> None:
    outside, inside = (metrics.masked_psnr(LEFT, outside=side) for side in (True, False))
    np.testing.assert_allclose(
        outside(IMAGES, reference=OTHERS), metrics.psnr(IMAGES[:, :, 11:], OTHERS[:, :, 11:])
    )
    np.testing.assert_allclose(
        inside(IMAGES, reference=OTHERS), metrics.psnr(IMAGES[:, :, :11], OTHERS[:, :, :11])
    )


def test_a_mask_of_a_coarser_grid_for_each_image() -> None:
    masks = np.random.default_rng(0).random((3, 10, 11)) < 0.5
    found = metrics.masked_psnr(masks)(IMAGES, reference=OTHERS)
    for row in range(3):
        kept = ~np.kron(masks[row], np.ones((4, 4), bool))
        error = (IMAGES[row][kept] / 255 - OTHERS[row][kept] / 255) ** 2
        assert found[row] == pytest.approx(-10 * np.log10(error.mean()))
    one = metrics.masked_psnr(masks)(IMAGES[2:], reference=OTHERS[2:], positions=[2])
    assert one.tolist() == found[2:].tolist()
    assert metrics.masked_psnr(masks).made_of != metrics.masked_psnr(~masks).made_of


def test_what_is_not_counted_may_be_anything() -> None:
    changed = IMAGES.copy()
    changed[:, LEFT] = 0
    metric = metrics.masked_psnr(LEFT)
    assert np.isinf(metric(changed, reference=IMAGES)).all()
    assert np.isnan(metrics.masked_psnr(np.ones((40, 44), bool))(changed, reference=IMAGES)).all()
    assert metric.paired
    assert metric.label == "PSNR outside the mask"


@pytest.mark.parametrize("mask", [LEFT.astype(int), LEFT[0], LEFT[None, None], LEFT[:0]])
def test_what_is_no_mask_is_refused(mask) -> None:
    with pytest.raises(InputError, match="a mask "):
        metrics.masked_psnr(mask)


@pytest.mark.parametrize("mask", [LEFT[:, :9], np.stack([LEFT, LEFT]), np.zeros((80, 88), bool)])
def test_a_mask_of_other_images_is_refused(mask) -> None:
    with pytest.raises(InputError, match="for images of 40 x 44 pixels|masks of 2 samples for 3 images"):
        metrics.masked_psnr(mask)(IMAGES, reference=OTHERS)
    if mask.ndim == 3:
        with pytest.raises(InputError, match="masks of 2 samples for 1 images"):
            metrics.masked_psnr(mask).open(["a red circle"])  # before a comparison
