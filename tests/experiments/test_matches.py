"""What controls matched, out of a firing table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.experiments.conditions import Condition, conditions
from ditscope.experiments.matches import match_ratio, matched_to

EDIT = ds.edits.zero(ChannelSet.of([3], label="three"))
LIVE = ds.controls.matched(EDIT, draws=2).draw(1)
FIRINGS = pd.DataFrame(
    {
        "row": [0, 1, 0, 1, 0],
        "matched": ["moved", "moved", "moved", "moved", ""],
        "wanted": [1.0, 2.0, 3.0, np.nan, 100.0],
        "reached": [2.0, 2.0, 4.0, 1.0, 1.0],
    }
)


def frozen(ratio: list[float], blocks: tuple[int, int] = (0, 1)) -> ds.edits.Edit:
    ids = ChannelSet.of({block: [5, 6] for block in blocks}).ids
    ratios = ids.isel(rank=0, drop=True).copy(data=ratio)
    return ds.edits.zero(ChannelSet(ids, "image", "energy-matched to three", ratios, True, "recorded energy"))


def test_live_matches_are_sums_over_places_and_nan_stays() -> None:
    found = match_ratio([EDIT, LIVE], FIRINGS, 3)
    assert found[0] == pytest.approx(6 / 4)
    assert np.isnan(found[1:]).all()
    assert np.isnan(match_ratio([EDIT], FIRINGS, 3)).all()


def test_frozen_matches_are_those_of_the_recording() -> None:
    edit = frozen([0.5, 1.0])
    assert match_ratio([edit], FIRINGS, 2).tolist() == [0.75, 0.75]
    assert np.isnan(match_ratio([edit, LIVE], FIRINGS, 3)).all()
    assert matched_to(Condition("", (edit, edit))) == "energy-matched to three"


def test_what_is_matched_is_said_in_words() -> None:
    assert matched_to(Condition("", (EDIT,))) == matched_to(Condition("", (ds.edits.zero(None),))) == ""
    assert matched_to(Condition("", (LIVE, EDIT))) == "random channels of the squared change of three"
    guidance = ds.guidance.from_edits(LIVE, 1.0, match_norm_of=EDIT)
    (condition,) = conditions({"guided": guidance})
    assert matched_to(condition) == "random channels of the squared change of three; norm of zero three"
