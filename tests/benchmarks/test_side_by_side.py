"""Turns, figures beside their targets, and results that are kept."""

from __future__ import annotations

import json

import pytest

import side_by_side
from side_by_side import Figure, Part


def test_every_round_begins_with_another_way() -> None:
    order: list[str] = []
    ways = {name: lambda name=name: float(order.append(name) or len(order)) for name in "abc"}
    assert side_by_side.in_turns(ways, 2) == {"a": [1.0, 6.0], "b": [2.0, 4.0], "c": [3.0, 5.0]}
    assert "".join(order) == "abcbca"


def test_ratios_are_of_one_round() -> None:
    assert side_by_side.ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]


@pytest.mark.parametrize(
    ("figure", "met", "ending"),
    [
        (Figure("a", [1.2, 1.0, 1.1], most=1.1), True, "1.1 (1 to 1.2)   at most 1.1: met"),
        (Figure("a", [1.2, 1.0, 1.2], "s", most=1.1), False, "1.2 (1 to 1.2) s   at most 1.1: NOT MET"),
        (Figure("a", [0.8], least=0.8), True, "0.8   at least 0.8: met"),
        (Figure("a", [0.7], "x", least=0.8), False, "0.7 x   at least 0.8: NOT MET"),
        (Figure("a", [0.7], "x"), None, "0.7 x"),
    ],
)
def test_a_figure_says_whether_its_median_meets_the_target(figure, met, ending) -> None:
    assert figure.met is met
    assert figure.line().endswith(ending)
    assert figure.to_json()["met"] is met


def test_results_of_other_parts_stay_and_name_no_machine(tmp_path, capsys) -> None:
    path, runs = tmp_path / "results" / "kept.json", []

    def part(options) -> Part:
        runs.append(1)
        return Part("what", [Figure("runs", [len(runs)])], [{"way": "a", "s": "1"}])

    parser = side_by_side.options_parser("about", {"one": part, "two": part}, ["one", "two"])
    side_by_side.run_parts({"one": part, "two": part}, parser.parse_args(["--json", str(path)]))
    again = parser.parse_args(["--json", str(path), "--only", "one"])
    side_by_side.run_parts({"one": part, "two": part}, again)
    kept = json.loads(path.read_text())
    assert {name: part["figures"][0]["values"] for name, part in kept.items()} == {"one": [3], "two": [2]}
    assert set(kept["one"]["setting"]) == {"device", "rounds", "ditscope", *side_by_side.LIBRARIES}
    assert "| a | 1 |" in capsys.readouterr().out


def test_a_child_answers_in_its_last_line(tmp_path) -> None:
    script = tmp_path / "child.py"
    script.write_text("import json, sys\nprint('talk')\nprint(json.dumps(sys.argv[1:]))\n")
    assert side_by_side.in_child(str(script), "a", "b") == ["a", "b"]
