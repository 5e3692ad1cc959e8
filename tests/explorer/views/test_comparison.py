"""What a sweep has."""

from __future__ import annotations


def test_it_has_the_grid_the_edits_and_the_metrics(ask) -> None:
    said = ask("comparison", 1)
    assert said.values["grid"] == [{"name": "block", "labels": ["double.0", "single.5"]}]
    assert (said.values["edits"], said.values["control"]) == (["massive", "random"], [False, True])
    assert said.values["draws"] == [1, 2]
    assert [each["label"] for each in said.values["metrics"]] == ["PSNR"]
    assert (said.values["images"], said.values["missing_runs"]) == (True, 1)
    assert (said.arrays["prompt"].tolist(), said.arrays["seed"].tolist()) == ([0, 1, 1], [0, 0, 1])
