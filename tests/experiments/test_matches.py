"""What controls matched, out of a firing table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.experiments.conditions import Condition, conditions
from ditscope.experiments.matches import match_ratio, matched_to

EDIT = ds.edits.zero(ChannelSet.of([3], label="three"))
LIVE = ds.controls.matched(EDIT, draws=2).draw(1)
FIRINGS = pd.DataFrame(
    {
        "row": [0, 1, 0, 1, 0],
        "edit": "",
        "site": "block_output",
        "step": [0, 0, 1, 1, 1],
        "block": [0, 0, 1, 1, 1],
        "block_name": ["double.0"] * 2 + ["double.1"] * 3,
        "matched": ["moved", "moved", "moved", "moved", ""],
        "wanted": [1.0, 2.0, 3.0, np.nan, 100.0],
        "reached": [2.0, 2.0, 4.0, 1.0, 1.0],
    }
)
SAMPLES = [("a", 0), ("a", 1), ("b", 0)]


def frozen(ratios: xr.DataArray) -> ds.edits.Edit:
    ids = ratios.expand_dims(rank=2).transpose(..., "rank").astype(int).copy()
    ids[:] = [5, 6]
    return ds.edits.zero(ChannelSet(ids, "image", "energy-matched to three", ratios, True, "recorded energy"))


def test_live_matches_are_sums_over_places_and_nan_stays() -> None:
    found = match_ratio([EDIT, LIVE], FIRINGS, SAMPLES, range(3))
    assert found[0] == pytest.approx(6 / 4)
    assert np.isnan(found[1:]).all()
    assert np.isnan(match_ratio([EDIT], FIRINGS, SAMPLES, range(3))).all()


@pytest.mark.parametrize("names", [False, True])
def test_frozen_matches_are_those_of_the_recording_where_the_edit_fired(names) -> None:
    """Blocks 0 to 2 in steps 0 to 1; of these (0, 1) and (2, 0) are edited in sample 0, and (2, 1) in sample 1."""
    blocks = ["double.0", "double.1", "double.2"] if names else [0, 1, 2]
    ratios = xr.DataArray(
        [[0.1, 0.2], [9.0, 9.0], [0.4, 0.8]],
        dims=("block", "step"),
        coords={"block": blocks, "step": [0, 1]},
    )
    edit, other = frozen(ratios), frozen(ratios.isel(step=0, drop=True))
    where = {"row": [0, 0, 1], "block": [0, 2, 2], "step": [1, 0, 1]}
    fired = pd.DataFrame({**where, "edit": edit.label, "site": "block_output", "matched": ""})
    fired["block_name"] = ["double.0", "double.2", "double.2"]
    found = match_ratio([edit], fired, SAMPLES, range(3))
    assert found[:2] == pytest.approx([0.3, 0.8])
    assert np.isnan(found[2])
    assert match_ratio([other], fired, SAMPLES, range(3))[:2] == pytest.approx([0.25, 0.4])


def test_a_frozen_match_of_each_sample_is_its_own() -> None:
    ratios = xr.DataArray(
        [0.5, 0.7],
        dims="sample",
        coords={"prompt": ("sample", ["b", "a"]), "seed": ("sample", [0, 1])},
    )
    edit = frozen(ratios)
    fired = FIRINGS.assign(edit=edit.label)
    assert match_ratio([edit], fired, SAMPLES[1:], range(1, 3))[:2] == pytest.approx([0.7, 0.5])


def test_frozen_and_live_matches_have_no_ratio_in_common() -> None:
    edit = frozen(xr.DataArray([0.5, 1.0], dims="block", coords={"block": [0, 1]}))
    assert np.isnan(match_ratio([edit, LIVE], FIRINGS, SAMPLES, range(3))).all()
    assert matched_to(Condition("", (edit, edit))) == "energy-matched to three"


def test_what_is_matched_is_said_in_words() -> None:
    assert matched_to(Condition("", (EDIT,))) == matched_to(Condition("", (ds.edits.zero(None),))) == ""
    assert matched_to(Condition("", (LIVE, EDIT))) == "random channels of the squared change of three"
    guidance = ds.guidance.from_edits(LIVE, 1.0, match_norm_of=EDIT)
    (condition,) = conditions({"guided": guidance})
    assert matched_to(condition) == "random channels of the squared change of three; norm of zero three"
