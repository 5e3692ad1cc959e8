"""The page of a claim says its rule and its verdict, and of a model no more than was measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ditscope.intervals import Interval
from ditscope.studies import Claim, Quantity, Result, Rule
from ditscope.studies.claim_report import decided_quantities, draw_claim, interval_words, power_words

RULE = Rule((Quantity.below("gap", "PSNR, massive less bottom", -1.0, refuted_above=0.0, unit="dB"),))
ENDS = {"supported": (-3.0, -2.0), "refuted": (1.0, 2.0), "undecided": (-2.0, 1.0)}


@dataclass(frozen=True)
class Loud(Claim):
    """A claim whose result is made by hand."""

    name, claim, source = "loud", "Massive channels are loud.", "nobody, nowhere"
    design, controls, rule = "Zero them.", ("bottom channels",), RULE

    def test(self, trial, chosen):
        raise NotImplementedError

    def figures(self, result):
        return {}

    def work(self):
        raise NotImplementedError


def made_claim(verdict: str, model: str = "shapes") -> Result:
    low, high = ENDS[verdict]
    decision = RULE.decide({"gap": Interval(*map(np.asarray, ((low + high) / 2, low, high)))})
    numbers = {
        "verdict": decision.verdict,
        "quantities": list(decision.quantities),
        "rule": RULE.to_json(),
        "prompts_tested": 40,
        "prompts_needed": 40,
        "chosen": {"block": 3},
        "power": [
            {
                "quantity": "gap",
                "sd": 2.0,
                "smallest_effect": 1.0,
                "prompts_needed": 34,
                "effect_found": 0.91,
            }
        ],
        "tables": {"by_prompt": {"columns": ["prompt", "gap"], "data": [["a", -1.5]]}},
        "validity": [{"statement": "The control matched to 99 %.", "trusted": True}],
        "model": "DiT: mine",
        "config": {"k": 6},
    }
    return Result(Loud(model=model), Path("runs") / verdict, numbers, {}, {"versions": {"torch": "2"}})


@pytest.mark.parametrize("verdict", list(ENDS))
def test_the_page_says_the_verdict_and_the_rule(verdict) -> None:
    page = draw_claim(made_claim(verdict)).html()
    assert f"<strong>{verdict}</strong>" in page
    assert "supports below -1, refutes above 0" in page
    assert "bottom channels" in page
    assert "block 3" in page
    assert "The control matched to 99 %." in page
    assert ">34<" in page
    assert "no more prompts than the 40 that were tested" in page


def test_a_fact_about_an_embedded_model_is_said_to_be_no_more() -> None:
    assert "not about FLUX.1" in draw_claim(made_claim("supported")).html()
    assert "a fact about this checkpoint" in draw_claim(made_claim("supported", "a/model")).html()


def test_results_under_one_rule_lie_beside_each_other() -> None:
    decided = decided_quantities({name: made_claim(name).numbers["quantities"] for name in ENDS})
    assert decided["verdict"].values[:, 0].tolist() == list(ENDS)
    assert decided["low"].values[:, 0].tolist() == [low for low, _ in ENDS.values()]
    assert decided["supports"].values.tolist() == [[-np.inf, -1.0]]
    assert decided["refutes"].values.tolist() == [[[0.0, np.inf]]]


def test_where_the_limit_bound_it_says_what_was_powered() -> None:
    numbers = made_claim("refuted").numbers
    (row,) = numbers["power"]
    bound = numbers | {"prompts_needed": 200, "power": [row | {"prompts_needed": 200, "effect_found": 2.25}]}
    assert "asked for 200 prompts and the design's limit is 40" in power_words(bound)
    assert "by gap 2.25 dB (of interest: 1)" in power_words(bound)


def test_where_no_spread_was_known_nothing_was_asked_for() -> None:
    numbers = made_claim("refuted").numbers
    (row,) = numbers["power"]
    unknown = row | {"sd": None, "prompts_needed": None, "effect_found": None}
    assert "No spread over prompts was known" in power_words(numbers | {"power": [unknown]})
    assert "no more prompts than the 40" in power_words(numbers | {"power": [row, unknown]})


def test_an_interval_in_words() -> None:
    assert interval_words(made_claim("refuted").numbers["quantities"][0]) == "1.5 [1, 2] dB"
    assert interval_words({"low": None}) == "no interval"
