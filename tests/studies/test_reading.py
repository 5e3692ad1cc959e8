"""What claims read of a comparison equals the numbers by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ditscope.studies import effect_of, effects_table, meaning_change, relative_change
from ditscope.studies.reading import judge_finding, log_ratio, match_finding, meaning_metrics

ATTRIBUTES = ["shape_right", "colour_right", "size_right", "place_right", "background_right"]


def compared(metrics: list[str]) -> xr.Dataset:
    rng = np.random.default_rng(0)
    effect = rng.normal(size=(len(metrics), 2, 3, 4))
    own = rng.uniform(1, 2, (len(metrics), 4))
    names = ("mean", "simultaneous_low", "simultaneous_high")
    edges = {name: (("metric", "edit"), effect.mean((2, 3))) for name in names}
    return xr.Dataset(
        {
            "effect": (("metric", "edit", "draw", "sample"), effect),
            "baseline_value": (("metric", "sample"), own),
            "match_ratio": (("edit", "draw", "sample"), np.full((2, 3, 4), 0.9)),
            **edges,
            "energy_removed": ("edit", [0.4, 0.1]),
            "energy_moved": ("edit", [0.4, 0.1]),
        },
        coords={
            "metric": metrics,
            "edit": ["massive", "matched"],
            "sample": range(4),
            "prompt": ("sample", list("abcd")),
            "unit": ("metric", [""] * len(metrics)),
        },
    )


def test_effects_have_their_draws_averaged_and_prompts_alone_beside_them() -> None:
    result = compared(["psnr"])
    found = effect_of(result, "psnr", "massive")
    np.testing.assert_allclose(found, result["effect"].values[0, 0].mean(0))
    assert set(found.coords) == {"sample", "prompt"}


def test_meaning_is_the_share_of_right_attributes_or_the_clip_score() -> None:
    result = compared([*ATTRIBUTES, "texture_right"])
    expected = result["effect"].values[:5, 1].mean((0, 1))
    np.testing.assert_allclose(meaning_change(result, "matched"), expected)
    by_clip = compared(["clip_score"])
    np.testing.assert_allclose(meaning_change(by_clip), relative_change(by_clip, "clip_score"))
    expected = by_clip["effect"].values[0, 1].mean(0) / by_clip["baseline_value"].values[0]
    np.testing.assert_allclose(relative_change(by_clip, "clip_score", "matched"), expected)


def test_a_ratio_is_in_octaves_with_draws_averaged() -> None:
    result = compared(["high_frequency_energy"])
    own = result["baseline_value"].values[0]
    result["value"] = result["effect"].copy(data=own * 2.0 ** np.arange(24).reshape(1, 2, 3, 4))
    found = log_ratio(result, "high_frequency_energy")
    np.testing.assert_allclose(found, np.arange(24).reshape(2, 3, 4).mean(1))
    assert found.dims == ("edit", "sample")
    assert set(found.coords) == {"edit", "sample", "prompt"}


def test_a_table_has_a_row_for_each_metric_and_edit() -> None:
    table = effects_table(compared(["psnr", "ssim"]))
    assert list(table.columns) == ["metric", "edit", "mean", "low", "high", "energy_removed", "energy_moved"]
    assert len(table) == 4


def test_findings_say_whether_a_method_can_be_trusted() -> None:
    claim: Any = SimpleNamespace(embedded=True)
    result = compared(ATTRIBUTES)
    result["baseline_value"][:] = 1.0
    assert judge_finding(claim, result).trusted
    result["baseline_value"][:, 0] = 0.0
    statement, trusted = judge_finding(claim, result)
    assert statement == "Of 4 unedited images the oracle finds 75 % of attributes as the caption says."
    assert not trusted
    claim.embedded = False
    assert judge_finding(claim, result).trusted is None
    assert match_finding(result, "matched").trusted
    result["match_ratio"][1, 0, 0] = 9.0
    assert match_finding(result, "matched").trusted, "one image of twelve is far off"
    result["match_ratio"][1, :2] = 9.0
    assert not match_finding(result, "matched").trusted, "most are far off"
    result["match_ratio"][1, :2] = np.nan
    assert match_finding(result, "matched").trusted, "draws that it does not have do not count"
    result["match_ratio"][:] = np.nan
    assert match_finding(result, "matched").trusted is None
    result["match_ratio"][:] = 0.5
    assert not match_finding(result, "matched").trusted


@pytest.mark.parametrize(("embedded", "metrics"), [(True, tuple(ATTRIBUTES)), (False, ("clip_score",))])
def test_metrics_of_meaning_are_those_that_the_model_has(embedded, metrics) -> None:
    assert meaning_metrics(SimpleNamespace(embedded=embedded)) == metrics  # type: ignore[arg-type]
