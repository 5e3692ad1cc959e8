"""The report of a saved result, whose study may not be at hand: that of a claim is in its script."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ditscope.errors import InputError
from ditscope.paths import local_path
from ditscope.report.explorer import add_stores
from ditscope.report.page import Report
from ditscope.studies.claim_report import draw_claim, ends_of
from ditscope.studies.rule import Quantity, Rule
from ditscope.studies.study import Result, known_studies, load_result


def saved_report(folder: str | os.PathLike[str], target: Path) -> Report:
    """The report of the result in a folder, of a study that is known or of any claim.

    Args:
        folder: of the result.
        target: where the report will be written, from where files of the result are linked.

    Raises:
        InputError: there is no result, or one of a study that is neither.
    """
    source = local_path(folder)
    result, name = load_result(source, _study)
    report = (
        _of_script(result, name) if isinstance(result.study, SimpleNamespace) else result.study.draw(result)
    )
    add_stores(report, source)
    report.files = [(what, os.path.relpath(source / file, target)) for what, file in report.files]
    return report


def _of_script(result: Result, name: str) -> Report:
    """The report of a claim, with the figures that its script drew."""
    if "quantities" not in result.numbers or not result.study.claim:
        known = ", ".join(known_studies())
        raise InputError(
            f"a result of {name!r} in {result.folder}, of which the package knows nothing",
            f"one of {known}, or of a claim",
            "Install what offers the study, or run its script with --redraw.",
        )
    report = draw_claim(result)
    figures = [path for path in sorted(result.folder.glob("*.png")) if path.stem != "verdict"]
    measured = next(section for section in report.sections if section.title == "What was measured")
    for path in figures:
        words = path.stem.replace("_", " ").replace("-", " ")
        measured.picture(path, f"As its script drew it: {words}.", name=path.stem)
    if figures:
        measured.text(
            "The code that draws these figures is in the script of the claim, which the package does not have; it was "
            f"run by `{result.provenance.get('command') or 'a command that is not written down'}`."
        )
    return report


def _study(name: str, config: dict[str, Any], source: Path) -> Any:
    """The study by its name; of a claim's script, what its result says of it."""
    if name in known_studies():
        return known_studies()[name].of(config["config"])
    path = source / "verdict.json"
    said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    words = {"design": "", "controls": (), "claim": "", "source": "", **said, **config.get("words", {})}
    rule = said.get("rule", {"needs": "all", "level": 0.95, "quantities": []})
    quantities = tuple(
        Quantity(
            **{
                **each,
                "supports": tuple(ends_of(each["supports"])),
                "refutes": tuple(tuple(ends_of(ends)) for ends in each["refutes"]),
                "limits": each["limits"] and tuple(each["limits"]),
            }
        )
        for each in rule["quantities"]
    )
    return SimpleNamespace(
        **{
            **{key: words[key] for key in ("design", "controls", "claim", "source")},
            **config["config"],
            "name": name,
            "rule": Rule(quantities, rule["needs"], rule["level"]) if quantities else None,
            "figures": lambda result: {},
        }
    )
