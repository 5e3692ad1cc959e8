"""The table of versions says what came out, and the kept one is of what pyproject.toml allows."""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.etree import ElementTree

import tested_versions
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="right"/>
<testcase classname="tests.a" name="wrong[x]"><failure message="no"/></testcase>
<testcase classname="tests.b" name="broken"><error message="no"/></testcase>
<testcase classname="tests.b" name="absent"><skipped message="no library"/></testcase>
</testsuite></testsuites>"""


def test_the_table_counts_and_names_what_failed() -> None:
    versions = dict.fromkeys(("python", *tested_versions.SHOWN), "1.0")
    clean = ElementTree.fromstring('<testsuite><testcase classname="tests.a" name="right"/></testsuite>')
    shown = tested_versions.table(
        {
            "lowest": (versions, ElementTree.fromstring(REPORT)),
            "newest": ({**versions, "torch": "2.0"}, clean),
        }
    )
    assert "| torch | 1.0 | 2.0 |" in shown
    assert "| passed | 1 | 1 |\n| failed | 2 | 0 |\n| skipped | 1 | 0 |" in shown
    assert "Failed with the lowest:\n\n* `tests.a.wrong[x]`\n* `tests.b.broken`\n" in shown
    assert shown.endswith("Nothing failed with the newest.\n")


def test_the_lowest_versions_of_the_kept_table_are_those_that_are_allowed() -> None:
    rows = [line.strip("| ").split(" | ") for line in tested_versions.TABLE.read_text().splitlines()]
    lowest = {row[0]: row[1] for row in rows if len(row) == 3}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {requirement.name: requirement for requirement in map(Requirement, project["dependencies"])}
    for library in set(tested_versions.SHOWN) & set(asked):
        (floor,) = (part.version for part in asked[library].specifier if part.operator == ">=")
        assert lowest[library].startswith(floor)
    assert project["requires-python"] == f">={'.'.join(lowest['python'].split('.')[:2])}"
