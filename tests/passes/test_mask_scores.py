from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.errors import InputError
from ditscope.passes import ChannelSet


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


@pytest.fixture
def study(make_hidden):
    hidden = make_hidden(samples=6, blocks=2, edge=8, dtype=np.float32, chunks=None)
    truth = np.random.default_rng(1).random((6, 64)) < 0.3
    values = hidden.values
    values[..., 3] = 0.01 * values[..., 3] + 9 * truth[:, None, None, None]
    hidden = hidden.copy(data=values)
    reference = truth.reshape(6, 8, 8).repeat(2, axis=1).repeat(2, axis=2)
    ranking = passes.rank_channels(hidden)
    sets = {"planted": ChannelSet.of([3]), "random": ranking.random(4, draws=3), "bottom": ranking.bottom(4)}
    return hidden, sets, reference


def test_study_equals_its_parts(study):
    hidden, sets, reference = study
    found = passes.mask_study(hidden, sets, reference, pca=3)
    assert list(found["selector"].values) == ["planted", "random", "bottom", "pca"]
    assert found["iou"].dims == ("selector", "draw", "block", "sample")
    np.testing.assert_allclose(found["iou"].sel({"selector": "planted", "draw": 0}), 1)
    for selector, options in {
        "random": {"channels": sets["random"].draw(2)},
        "bottom": {"channels": sets["bottom"]},
        "pca": {"channels": "all", "features": "pca", "components": 3},
    }.items():
        masks = passes.spatial_masks(hidden, block=1, **options)
        expected = passes.score_masks(masks, reference)
        draw = 2 if selector == "random" else 0
        row = found.sel({"selector": selector, "draw": draw, "block": 1})
        for name in ("iou", "iou_oracle", "polarity_right", "foreground_share", "collapsed"):
            np.testing.assert_allclose(row[name], expected[name].astype(float))
    assert found["iou"].sel({"selector": "bottom", "draw": 1}).isnull().all()


def test_summary_has_paired_intervals(study):
    hidden, sets, reference = study
    found = passes.mask_study(hidden, sets, reference, pca=None)
    summary = passes.mask_summary(found, resamples=200)
    signed = summary.sel(polarity="signed")
    np.testing.assert_allclose(
        signed["iou"].sel({"selector": "random"}),
        found["iou"].sel({"selector": "random"}).mean(("draw", "sample")),
    )
    assert (summary["iou_low"] <= summary["iou"]).all()
    assert (summary["iou"] <= summary["iou_high"]).all()
    np.testing.assert_allclose(signed["lead"], 1 - signed["iou"])
    assert (signed["lead_low"].sel({"selector": ["random", "bottom"]}) > 0).all()
    assert (summary["iou"].sel(polarity="oracle") >= signed["iou"] - 1e-12).all()
    assert summary.attrs["clustered_by"] == "prompt"


def test_bad_input(study):
    hidden, sets, reference = study
    with pytest.raises(InputError, match="no channel sets"):
        passes.mask_study(hidden, {}, reference)
    with pytest.raises(InputError, match="'pca'"):
        passes.mask_study(hidden, {"pca": sets["bottom"]}, reference)
    with pytest.raises(InputError, match="one step"):
        passes.mask_study(hidden, sets, reference, step=[0, 1])
    with pytest.raises(InputError, match="6 samples"):
        passes.mask_study(hidden, sets, reference[:3])
    with pytest.raises(InputError, match="'reference'"):
        passes.score_masks(passes.spatial_masks(hidden, [3]), reference, resize="up")
    with pytest.raises(InputError, match="latent grid"):
        passes.score_masks(passes.spatial_masks(hidden, [3]), reference[:, ::4, ::4])
