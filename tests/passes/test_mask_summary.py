from __future__ import annotations

import numpy as np

from ditscope import passes


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


def test_bounds_are_possible_values(study):
    hidden, sets, reference = study
    scores = passes.mask_study(hidden.isel(sample=[0, 2]), sets, reference[[0, 2]], pca=None)
    summary = passes.mask_summary(scores, resamples=50)
    # Two prompts: Student's t alone would go far out.
    assert summary["iou_low"].min() == 0
    assert summary["iou_high"].max() == 1
    assert summary["lead_low"].min() >= -1
