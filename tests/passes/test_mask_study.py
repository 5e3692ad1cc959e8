from __future__ import annotations

import numpy as np
import pytest

from ditscope import passes
from ditscope.errors import InputError
from ditscope.passes import MaskOptions


def test_study_equals_its_parts(study):
    hidden, sets, reference = study
    study_result = passes.mask_study(hidden, sets, reference, pca=3)
    assert list(study_result["selector"].values) == ["planted", "random", "bottom", "pca"]
    assert study_result["iou"].dims == ("selector", "draw", "block", "sample")
    np.testing.assert_allclose(study_result["iou"].sel({"selector": "planted", "draw": 0}), 1)
    for selector, options in {
        "random": {"channels": sets["random"].draw(2)},
        "bottom": {"channels": sets["bottom"]},
        "pca": {"channels": "all", "options": MaskOptions(components=3)},
    }.items():
        masks = passes.spatial_masks(hidden, blocks=1, **options)
        expected = passes.score_masks(masks, reference)
        draw = 2 if selector == "random" else 0
        row = study_result.sel({"selector": selector, "draw": draw, "block": 1})
        for name in ("iou", "iou_oracle", "polarity_right", "foreground_share", "collapsed"):
            np.testing.assert_allclose(row[name], expected[name].astype(float))
    assert study_result["iou"].sel({"selector": "bottom", "draw": 1}).isnull().all()


def test_options_and_controls_are_passed_on(study):
    hidden, sets, reference = study
    options = MaskOptions(polarity="minority", n_init=1, collapse_share=0.5)
    scores = passes.mask_study(hidden, sets, reference, pca=2, blocks="double.1", options=options)
    assert scores["control"].values.tolist() == [False, True, True, True]
    assert scores["block"].values.tolist() == [1]
    assert scores["collapsed"].isel(draw=0).min() == 1  # less than half of the tokens, always
    assert {name: scores.attrs[name] for name in ("polarity", "n_init", "step")} == {
        "polarity": "minority",
        "n_init": 1,
        "step": 2,
    }


def test_bad_input(study):
    hidden, sets, reference = study
    with pytest.raises(InputError, match="no channel sets"):
        passes.mask_study(hidden, {}, reference)
    with pytest.raises(InputError, match="two selectors named 'pca'"):
        passes.mask_study(hidden, {"pca": sets["bottom"]}, reference)
    with pytest.raises(InputError, match="every sample"):
        few = passes.spatial_masks(hidden, sets["planted"]).isel(sample=[0, 1])
        passes.mask_study(hidden, sets, reference, also={"few": few})
    with pytest.raises(InputError, match="one step"):
        passes.mask_study(hidden, sets, reference, step=[0, 1])
    with pytest.raises(InputError, match="6 samples"):
        passes.mask_study(hidden, sets, reference[:3])


def test_masks_made_otherwise_stand_beside(study):
    hidden, sets, reference = study
    one = passes.spatial_masks(hidden, sets["planted"], blocks=[1])
    everywhere = passes.spatial_masks(hidden, sets["bottom"], blocks=0).drop_vars(["foreground_share"])
    found = passes.mask_study(
        hidden, {"planted": sets["planted"]}, reference, pca=None, also={"one": one, "everywhere": everywhere}
    )
    assert found["selector"].values.tolist() == ["planted", "one", "everywhere"]
    assert found["control"].values.tolist() == [False, True, True]
    rows = found["iou"].squeeze("draw")
    assert rows.sel(selector="one", block=0).isnull().all()
    np.testing.assert_array_equal(rows.sel(selector="one", block=1), rows.sel(selector="planted", block=1))
    expected = passes.score_masks(everywhere, reference)["iou"]
    for block in (0, 1):
        np.testing.assert_array_equal(rows.sel(selector="everywhere", block=block), expected)
    assert passes.mask_summary(found)["iou"].sel(selector="planted", polarity="signed").values.min() == 1
