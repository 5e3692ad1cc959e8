"""A check's report: what holds, what does not, and with which libraries."""

from __future__ import annotations

import pytest

from ditscope.checking.report import CheckReport, Finding
from ditscope.errors import CheckError

RIGHT = Finding("blocks run in order", True, "2 of 2")
WRONG = Finding("images <are> equal", False, "largest difference 0.5")
VERSIONS = {"torch": "2.13.0", "nnsight": "0.8.1"}


def report(*findings: Finding) -> CheckReport:
    return CheckReport("a model", VERSIONS, findings)


def test_it_is_in_order_if_every_claim_holds_and_gives_itself_back() -> None:
    whole = report(RIGHT, RIGHT)
    assert whole.ok
    assert whole.require() is whole
    assert not report(RIGHT, WRONG).ok


def test_claims_that_do_not_hold_are_named_with_their_figures_and_others_are_not() -> None:
    with pytest.raises(CheckError, match="1 of 2 checks failing on a model") as error:
        report(RIGHT, WRONG).require()
    assert "images <are> equal (largest difference 0.5)" in str(error.value)
    assert RIGHT.claim not in str(error.value)


def test_the_text_has_a_line_a_claim_between_the_model_and_the_libraries() -> None:
    assert str(report(RIGHT, WRONG)).splitlines() == [
        "check of a model",
        "  ok    blocks run in order: 2 of 2",
        "  FAIL  images <are> equal: largest difference 0.5",
        "  1 of 2 hold, with torch 2.13.0, nnsight 0.8.1",
    ]
    assert repr(report(RIGHT)) == str(report(RIGHT))


def test_the_page_escapes_claims_and_marks_each() -> None:
    page = report(RIGHT, WRONG)._repr_html_()
    assert "images &lt;are&gt; equal" in page
    assert (page.count("✓"), page.count("✗")) == (1, 1)
    assert "a model, with torch 2.13.0, nnsight 0.8.1" in page
