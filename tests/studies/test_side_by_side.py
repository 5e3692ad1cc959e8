"""Two results in one page: verdicts in one figure, all else in columns, from what was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_claim_report import made_claim

from ditscope.errors import InputError
from ditscope.studies import side_by_side


def results(*more: Any) -> list[Any]:
    return [made_claim("supported"), made_claim("refuted", "shapes-sana"), *more]


def test_two_results_of_a_claim_lie_beside_each_other(tmp_path: Path) -> None:
    page = side_by_side(results())
    html = page.html()
    assert page.sections[0].title == "Verdicts"
    assert html.count('<div class="columns">') == len(page.sections) - 1
    for model in ("shapes", "shapes-sana"):
        assert f"<h3>{model}</h3>" in html
        assert f"by a rule written before the run ({model})" in html
    assert "-2.5 [-3, -2] dB: supported" in html
    assert "1.5 [1, 2] dB: refuted" in html
    page.write(tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "verdicts.png",
        "1-verdict.png",
        "2-verdict.png",
    }


def test_figures_and_tables_are_numbered_through() -> None:
    page = side_by_side(results())
    for kind in ("figure", "table"):
        numbers = [part["number"] for part in page.parts(kind)]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_two_runs_of_one_model_are_told_apart_by_their_folders() -> None:
    one, other = made_claim("supported"), made_claim("undecided")
    html = side_by_side([one, other]).html()
    assert "shapes in runs/supported" in html
    assert "shapes in runs/undecided" in html


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="1 results"):
        side_by_side(results()[:1])
    changed = made_claim("supported", "other")
    changed.numbers["rule"] = {**changed.numbers["rule"], "level": 0.9}
    with pytest.raises(InputError, match="other rules"):
        side_by_side(results(changed))
