"""Runs the tests with the lowest and with the newest libraries that pyproject.toml allows, and writes the table.

``make test-versions`` does it: it needs the network, 15 GB below ``build/versions`` and about half an hour. The
table, ``docs/tested_versions.md``, is kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "versions"
TABLE = ROOT / "docs" / "tested_versions.md"

TESTS = ("tests/families", "tests/models", "tests/cache", "tests/recording", "tests/edits", "tests/tracing")
LEFT_OUT = ("test_installed_versions_are_those_that_are_verified_and_do_not_warn",)
"""Tests that say which versions the project is verified with, and so hold for those alone."""

SETS = {"lowest": ("3.11", "lowest-direct"), "newest": ("3.13", "highest")}
"""Name -> Python, and how versions are chosen among those that pyproject.toml allows."""

SHOWN = ("torch", "diffusers", "transformers", "nnsight", "peft", "zarr", "tensorstore", "xarray", "numpy")


def install(name: str) -> Path:
    """Make an environment with one set of versions, and return its Python."""
    python_version, resolution = SETS[name]
    folder, pins = FOLDER / name, FOLDER / f"{name}.txt"
    python = folder / "bin" / "python"
    project = ("--python-version", python_version, "--resolution", resolution, "--upgrade", "-q")
    run("uv", "pip", "compile", str(ROOT / "pyproject.toml"), *project, "-o", str(pins))
    run("uv", "venv", "-q", "--clear", "--python", python_version, str(folder))
    # Only the project's own libraries are at their lowest; the tools of the tests are not what is tested.
    editable = ("-e", f"{ROOT}[dev,notebooks]", "-c", str(pins))
    run("uv", "pip", "install", "-q", "--python", str(python), "-r", str(pins), *editable)
    return python


def versions(python: Path) -> dict[str, str]:
    """The versions of Python and of the libraries of an environment."""
    code = f"import platform, importlib.metadata as m; print(platform.python_version(), *map(m.version, {SHOWN}))"
    return dict(zip(("python", *SHOWN), run(str(python), "-c", code).split(), strict=True))


def results(python: Path, name: str) -> ElementTree.Element:
    """Run the tests, and return the report."""
    report = FOLDER / f"{name}.xml"
    deselected = [f"not {test}" for test in LEFT_OUT]
    options = ("-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider", "--junitxml", str(report))
    command = (str(python), "-m", "pytest", *options, "-k", " and ".join(deselected), *TESTS)
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    return ElementTree.parse(report).getroot()


def table(measured: dict[str, tuple[dict[str, str], ElementTree.Element]]) -> str:
    """The table as Markdown, with the tests that failed below it."""
    names = list(measured)
    lines = [
        "# Versions that the tests were run with",
        "",
        "The lowest and the newest that `pyproject.toml` allows, written by `make test-versions`. "
        f"Tests: {', '.join(f'`{tests}`' for tests in TESTS)}.",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for library in ("python", *SHOWN):
        lines.append(f"| {library} | {' | '.join(measured[name][0][library] for name in names)} |")
    counts = {name: Counter(map(outcome, measured[name][1].iter("testcase"))) for name in names}
    for kind in ("passed", "failed", "skipped"):
        lines.append(f"| {kind} | {' | '.join(str(counts[name][kind]) for name in names)} |")
    for name in names:
        failed = [case for case in measured[name][1].iter("testcase") if outcome(case) == "failed"]
        heading = f"Failed with the {name}:" if failed else f"Nothing failed with the {name}."
        lines += ["", heading]
        lines += [""] * bool(failed) + [f"* `{case.get('classname')}.{case.get('name')}`" for case in failed]
    return "\n".join(lines).rstrip() + "\n"


def outcome(case: ElementTree.Element) -> str:
    """What came out of one test: passed, failed or skipped."""
    kinds = {part.tag for part in case}
    return "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def run(*command: str) -> str:
    """Run a command and return what it prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Measure every set and write the table; the exit status says whether a test failed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    measured = {}
    for name in SETS:
        python = install(name)
        measured[name] = versions(python), results(python, name)
    TABLE.write_text(table(measured))
    failed = any(
        outcome(case) == "failed" for _, report in measured.values() for case in report.iter("testcase")
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
