"""A rule decides by where whole intervals lie, and by nothing else."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import xarray as xr

from ditscope.errors import InputError
from ditscope.intervals import Interval, bootstrap_mean
from ditscope.studies import Quantity, Rule

LESS = Quantity.below("less", "difference in PSNR", -1.0, refuted_above=0.0, unit="dB")
SAME = Quantity.within("same", "change of right answers", -0.1, 0.1)


def values(*per_prompt: float) -> xr.DataArray:
    prompts = [f"prompt {number}" for number in range(len(per_prompt))]
    coords = {"sample": range(len(per_prompt)), "prompt": ("sample", prompts)}
    return xr.DataArray(list(per_prompt), dims="sample", coords=coords)


def interval(low: float, high: float) -> Interval:
    return Interval(*map(np.asarray, ((low + high) / 2, low, high)))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-3.0, -1.1, "supported"),
        (-math.inf, -1.1, "supported"),
        (-3.0, -1.0, "undecided"),
        (-3.0, -0.9, "undecided"),
        (-0.8, -0.2, "undecided"),
        (-0.2, 0.2, "undecided"),
        (0.1, 0.2, "refuted"),
        (0.1, math.inf, "refuted"),
        (0.0, 0.0, "undecided"),
        (math.nan, math.nan, "undecided"),
    ],
)
def test_a_quantity_decides_by_its_whole_interval(low, high, verdict) -> None:
    assert LESS.verdict(low, high) == verdict


def test_a_range_is_left_on_either_side() -> None:
    verdicts = [SAME.verdict(*ends) for ends in ((-0.09, 0.09), (-0.2, 0.0), (-0.3, -0.11), (0.2, 0.3))]
    assert verdicts == ["supported", "undecided", "refuted", "refuted"]
    assert SAME.condition == "supports between -0.1 and 0.1, refutes below -0.1 or above 0.1"


@pytest.mark.parametrize(
    ("needs", "said", "verdict"),
    [
        ("all", ("supported", "supported"), "supported"),
        ("all", ("supported", "undecided"), "undecided"),
        ("all", ("supported", "refuted"), "refuted"),
        ("any", ("refuted", "refuted"), "refuted"),
        ("any", ("refuted", "undecided"), "undecided"),
        ("any", ("refuted", "supported"), "supported"),
    ],
)
def test_a_rule_needs_all_of_its_quantities_or_any(needs, said, verdict) -> None:
    rule = Rule((LESS, Quantity.below("other", "another", -1.0, refuted_above=0.0)), needs)
    ends = {"supported": (-3.0, -2.0), "undecided": (-2.0, 1.0), "refuted": (1.0, 2.0)}
    decision = rule.decide(
        {name: interval(*ends[one]) for name, one in zip(("less", "other"), said, strict=True)}
    )
    assert decision.verdict == verdict
    assert tuple(each["verdict"] for each in decision.quantities) == said


def test_intervals_over_the_same_samples_hold_together() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(-3.0, 1.0, (2, 12))
    rule = Rule((LESS, Quantity.above("more", "another", 0.0)))
    decision = rule.decide({"more": values(*drawn[1]), "less": values(*drawn[0])})
    expected = bootstrap_mean(drawn, cluster=np.arange(12).astype(str), together=True)
    for row, each in enumerate(decision.quantities):
        assert [each["mean"], each["low"], each["high"]] == [float(part[row]) for part in expected]
    alone = Rule((LESS,)).decide({"less": values(*drawn[0])}).quantities[0]
    assert decision.quantities[0]["low"] < alone["low"]


def test_what_has_limits_or_other_samples_is_corrected_by_number() -> None:
    right = Quantity.within("right", "change of right answers", -0.2, 0.2, limits=(-1, 1))
    rule = Rule((LESS, right))
    assert rule.each_level == pytest.approx(0.975)
    decision = rule.decide({"less": values(-2.0, -3.0, -2.5), "right": values(0.0, 0.0, 0.0, 0.0)})
    expected = bootstrap_mean(np.zeros(4), limits=(-1, 1), level=0.975)
    assert decision.quantities[1]["low"] == float(expected.low) < 0
    assert decision.quantities[1]["verdict"] == "undecided"


def test_thresholds_that_overlap_and_other_quantities_are_refused() -> None:
    with pytest.raises(InputError, match="do not overlap"):
        Quantity.above("more", "more", 0.0, refuted_below=0.5)
    with pytest.raises(InputError, match="smaller end"):
        Quantity.within("same", "same", 0.1, -0.1)
    with pytest.raises(InputError, match="different names"):
        Rule((LESS, LESS))
    with pytest.raises(InputError, match="measured: other"):
        Rule((LESS,)).decide({"other": values(1.0, 2.0)})


def test_it_is_written_as_json() -> None:
    written = Rule((LESS, SAME)).to_json()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written["quantities"][0]["supports"] == [None, -1.0]
    assert Rule((LESS, SAME)).sentence.startswith("The claim is supported if every one")
