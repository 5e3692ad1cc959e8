"""The overview of the claims is current, and what is kept of each was found by the rule that its script has."""

from __future__ import annotations

import json

import pytest

import readme

KEPT = [name for name in readme.scripts() if (readme.HERE / "results" / name / "verdict.json").is_file()]


def test_the_overview_is_current() -> None:
    assert (readme.HERE / "README.md").read_text(encoding="utf-8") == readme.readme(), (
        "run: python analyses/readme.py"
    )


def test_scripts_have_numbers_and_names_of_their_own() -> None:
    every = readme.scripts()
    assert len({name[:2] for name in every}) == len(every) == len({claim.name for claim in every.values()})
    for name, claim in every.items():
        assert name[3:] == claim.name
        assert claim().work().images > 0


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_verdict_is_that_of_the_scripts_rule_and_settings(name) -> None:
    claim = readme.scripts()[name]
    kept = json.loads((readme.HERE / "results" / name / "verdict.json").read_text(encoding="utf-8"))
    assert kept["rule"] == json.loads(json.dumps(claim.rule.to_json()))
    assert kept["claim"] == claim.claim
    settings = json.loads(json.dumps(claim().settings()))
    assert kept["config"] == {name: settings[name] for name in kept["config"]}
