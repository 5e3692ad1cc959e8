from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ditscope import passes
from ditscope.errors import InputError
from ditscope.passes.grids import align_reference, cell_counts


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


def test_iou():
    a = np.array([[True, True], [False, False]])
    b = np.array([[True, False], [True, False]])
    assert passes.iou(a, b) == pytest.approx(1 / 3)
    assert passes.iou(a, a) == 1
    assert passes.iou(a, ~a) == 0
    assert np.isnan(passes.iou(a & False, a & False))
    with pytest.raises(InputError, match="bool"):
        passes.iou(a.astype(int), b)


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
