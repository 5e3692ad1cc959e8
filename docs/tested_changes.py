"""Keeps what the tests found of every tiny pipeline and every change, of which the table of support has a matrix.

``make matrix`` runs the tests and writes ``docs/tested_changes.json``: a test that does not pass has no cell there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from tested_versions import outcome

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "tested_changes.json"
TESTS = "tests/families/test_matrix.py"

Cells = dict[str, dict[str, dict[str, str]]]
"""Tiny pipeline -> change -> recording, edit and resume -> what came out: equal, refused, or absent."""


def kept() -> Cells:
    """The cells that are kept; none where there is no file."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def cells(report: ElementTree.Element) -> Cells:
    """The cells of a report of the tests: of those that passed."""
    found: Cells = {}
    for case in report.iter("testcase"):
        if outcome(case) == "passed":
            for cell in case.iter("property"):
                name, change, came_out = json.loads(cell.attrib["value"])
                found.setdefault(name, {})[change] = came_out
    return found


def written(found: Cells) -> str:
    """Cells as JSON, one a line."""
    rows = []
    for name, row in found.items():
        entries = (f"{json.dumps(change)}: {json.dumps(cell)}" for change, cell in row.items())
        rows.append(f"{json.dumps(name)}: {{\n  " + ",\n  ".join(entries) + "\n}")
    return "{\n" + ",\n".join(rows) + "\n}\n"


def main() -> int:
    """Run the tests and write what they found; the exit status is theirs."""
    FILE.unlink(missing_ok=True)  # what a test finds is compared with what is kept
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ("-q", f"--junitxml={report}", "--deselect", f"{TESTS}::test_the_kept_file_has_every_cell")
        done = subprocess.run([sys.executable, "-m", "pytest", *options, TESTS], cwd=ROOT, check=False)
        found = cells(ElementTree.parse(report).getroot())
    FILE.write_text(written(found), encoding="utf-8")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
