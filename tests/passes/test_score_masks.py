from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ditscope import passes
from ditscope.errors import InputError
from ditscope.passes.score_masks import align_reference, cell_counts


def as_masks(mask: np.ndarray) -> xr.Dataset:
    array = xr.DataArray(mask, dims=("sample", "y", "x"), coords={"sample": np.arange(len(mask))})
    return xr.Dataset({"mask": array})


def test_scores_equal_the_upsampled_overlap():
    random = np.random.default_rng(0)
    mask, reference = random.random((5, 4, 4)) < 0.4, random.random((5, 32, 32)) < 0.5
    found = passes.score_masks(as_masks(mask), reference)
    upsampled = mask.repeat(8, axis=1).repeat(8, axis=2)
    own, other = passes.iou(upsampled, reference), passes.iou(~upsampled, reference)
    np.testing.assert_allclose(found["iou"], own)
    np.testing.assert_allclose(found["iou_oracle"], np.maximum(own, other))
    np.testing.assert_array_equal(found["polarity_right"], own >= other)
    np.testing.assert_allclose(found["reference_share"], reference.mean((1, 2)))
    np.testing.assert_allclose(found["foreground_share"], mask.mean((1, 2)))


def test_majority_brings_the_reference_to_the_grid():
    reference = np.zeros((1, 8, 8), dtype=bool)
    reference[0, 0], reference[0, 2:5] = True, True  # three of four pixel rows above, one of four below
    mask = np.array([[[True, True], [False, False]]])
    assert passes.score_masks(as_masks(mask), reference, resize="reference")["iou"].item() == 1
    assert passes.score_masks(as_masks(mask), reference)["iou"].item() == pytest.approx(3 / 5)


def test_empty_masks():
    empty = np.zeros((2, 2, 2), dtype=bool)
    reference = np.zeros((2, 4, 4), dtype=bool)
    reference[1, :2] = True
    found = passes.score_masks(as_masks(empty), reference)
    assert np.isnan(found["iou"][0])
    assert found["iou"][1] == 0
    assert found["iou_oracle"][1] == pytest.approx(0.5)
    assert not found["polarity_right"][1]


def test_reference_order_follows_labels():
    random = np.random.default_rng(0)
    mask, reference = random.random((3, 4, 4)) < 0.5, random.random((3, 8, 8)) < 0.5
    labelled = xr.DataArray(reference, dims=("sample", "y_pixel", "x_pixel"), coords={"sample": range(3)})
    straight = passes.score_masks(as_masks(mask), labelled)
    xr.testing.assert_equal(straight, passes.score_masks(as_masks(mask), labelled[[2, 0, 1]]))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(7, 24), st.integers(7, 24), st.integers(0, 2**31))
def test_counts_give_the_iou_of_the_upsampled_mask(height, width, rows, columns, seed):
    random = np.random.default_rng(seed)
    mask, reference = random.random((height, width)) < 0.5, random.random((rows, columns)) < 0.5
    covered, pixels = cell_counts(reference, height, width)
    upsampled = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].float(), size=(rows, columns), mode="nearest-exact"
    )[0, 0].bool()
    inside = (mask * covered).sum()
    union = (mask * pixels).sum() + covered.sum() - inside
    assert inside == (upsampled.numpy() & reference).sum()
    assert union == (upsampled.numpy() | reference).sum()


def test_reference_is_matched_by_label():
    samples = xr.DataArray([3, 1], dims="sample", coords={"sample": [3, 1]})["sample"]
    masks = np.zeros((4, 8, 8), dtype=bool)
    masks[3, 0], masks[1, 1] = True, True
    labelled = xr.DataArray(masks, dims=("sample", "y_pixel", "x_pixel"), coords={"sample": range(4)})
    np.testing.assert_array_equal(align_reference(labelled, samples), masks[[3, 1]])
    with pytest.raises(InputError, match="sample 3"):
        align_reference(labelled[:3], samples)
    with pytest.raises(InputError, match="2 samples"):
        align_reference(masks, samples)
    with pytest.raises(InputError, match="bool"):
        align_reference(masks[:2].astype(float), samples)


def test_bad_input():
    masks, reference = as_masks(np.ones((2, 4, 4), dtype=bool)), np.ones((2, 8, 8), dtype=bool)
    with pytest.raises(InputError, match="'reference'"):
        passes.score_masks(masks, reference, resize="up")
    with pytest.raises(InputError, match="latent grid"):
        passes.score_masks(masks, reference[:, ::4, ::4])
