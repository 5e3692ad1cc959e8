"""What the benchmark of coverage measures, with few studies: enough to see an interval that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import coverage_of_intervals as coverage

KEPT = json.loads((Path(coverage.__file__).parent / "results" / "coverage_of_intervals.json").read_text())
FEW = {"studies": 700, "resamples": 500}
NEAR = 0.035  # three standard errors of a share near 0.9 over 700 studies


@pytest.mark.parametrize("effects", coverage.EFFECTS)
@pytest.mark.parametrize("seeds", ["1", "4"])
def test_few_studies_agree_with_the_figures_that_are_kept(effects, seeds):
    found = coverage.coverage(effects, 12, seeds, **FEW)
    for method, share in KEPT["coverage"][f"{effects}, 12 x {seeds}"].items():
        assert found[method] == pytest.approx(share, abs=NEAR + 0.02 * (share < 0.8)), method


def test_no_other_method_falls_less_short():
    def short(share: float) -> float:
        return max(0.95 - share, 0)

    for setting, shares in KEPT["coverage"].items():
        others = [shares[name] for name in ("percentile", "bca", "student") if name in shares]
        assert short(shares["ours"]) <= short(max(others, default=0)) + 0.002, setting
        assert short(shares["ours"]) < 0.065, setting


@pytest.mark.parametrize("effects", ["normal", "40 % wrong"])
def test_four_edits_are_covered_at_once(effects):
    found = coverage.together(effects, 12, "1", **FEW)
    assert found["together"] > 0.93
    assert found["each by itself"] < found["together"] - 0.04


@pytest.mark.parametrize("effects", coverage.EFFECTS)
def test_effects_have_the_mean_that_is_said(effects):
    made, mean = coverage.EFFECTS[effects]
    values = made(np.random.default_rng(0).normal(size=400_000))
    assert values.mean() == pytest.approx(mean, abs=0.02)


def test_samples_of_a_prompt_share_half_their_variance():
    codes = coverage._codes(3, "4")
    values = coverage._normal(np.random.default_rng(0), (20_000,), codes)
    between = np.corrcoef(values.T)
    assert between[0, 1] == pytest.approx(0.5, abs=0.03)
    assert between[0, 4] == pytest.approx(0, abs=0.03)
    assert values.var() == pytest.approx(1, abs=0.03)
