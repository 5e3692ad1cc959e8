"""Only a test that passed leaves a cell of the matrix of changes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import support_table
import tested_changes

CELL = """<properties><property name="cell" value='["flux", "{}", {{"edit": "equal"}}]'/></properties>"""
REPORT = f"""<testsuites><testsuite>
<testcase classname="a" name="right">{CELL.format("fused")}</testcase>
<testcase classname="a" name="wrong">{CELL.format("scaled")}<failure message="no"/></testcase>
<testcase classname="a" name="absent">{CELL.format("quantized")}<skipped message="no"/></testcase>
</testsuite></testsuites>"""


def test_a_test_that_did_not_pass_leaves_no_cell() -> None:
    assert tested_changes.cells(ElementTree.fromstring(REPORT)) == {"flux": {"fused": {"edit": "equal"}}}


def test_the_table_draws_what_came_out_and_calls_what_is_not_there_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = {
        "sd3": {"fused": {"recording": "equal", "edit": "equal", "resume": "refused"}},
        "flux": {"scaled": {"recording": "absent", "edit": "absent", "resume": "absent"}},
    }
    monkeypatch.setattr(tested_changes, "kept", lambda: cells)
    table = support_table.support_table()
    assert "| tiny pipeline | fused | scaled |" in table
    assert "| flux | failed | · · · |\n| sd3 | = = r | failed |" in table
