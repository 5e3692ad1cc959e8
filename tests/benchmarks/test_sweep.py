"""The benchmark of sweeps, at its smallest: all ways give the same numbers, and stand beside what is aimed at."""

from __future__ import annotations

import json

import sweep


def test_ways_are_measured_against_each_other(tmp_path) -> None:
    found = sweep.main(["--quick", "--json", str(tmp_path / "s.json")])
    assert list(found) == ["uniform", "late", "alone", "together", "long"]
    kept = json.loads((tmp_path / "s.json").read_text())
    targets = {
        name: {each["target"] for each in part["figures"] if each["target"]} for name, part in kept.items()
    }
    assert targets == {
        "uniform": {"at most 0.55"},
        "late": {"at most 0.2"},
        "alone": {"at most 1.05"},
        "together": set(),
        "long": {"at most 32"},
    }
    # Two blocks and two steps, of which the last half is one step.
    assert "4 runs, at steps [0, 1] and blocks [0, 9]" in kept["uniform"]["work"]
    assert "2 runs, at steps [1] and blocks [0, 9]" in kept["late"]["work"]


def test_cells_are_spread_evenly() -> None:
    assert sweep.evenly(0, 9, 2) == [0, 9]
    assert sweep.evenly(15, 19, 9) == [15, 16, 17, 18, 19]
    assert sweep.evenly(0, 19, 5) == [0, 5, 10, 14, 19]
