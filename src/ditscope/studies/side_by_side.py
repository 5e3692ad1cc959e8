"""Two results of one study, of two models or two runs, beside each other in one page."""

from __future__ import annotations

from collections.abc import Sequence

from ditscope import plots
from ditscope.errors import InputError
from ditscope.report.page import Report, Section
from ditscope.studies.claim import Claim
from ditscope.studies.claim_report import decided_quantities, interval_words
from ditscope.studies.study import Result

__all__ = ["side_by_side"]


def side_by_side(results: Sequence[Result]) -> Report:
    """The reports of results, section by section in columns; of claims under one rule, their verdicts in one figure.

    ::

        pages = [Criticality.load("runs/shapes"), Criticality.load("runs/sana")]
        ds.studies.side_by_side(pages).write("runs/beside")

    Args:
        results: two or more, of one study.

    Raises:
        InputError: fewer, of other studies, or of claims under other rules.
    """
    kinds = {type(result.study).__name__ for result in results}
    if len(results) < 2 or len(kinds) > 1:
        raise InputError(
            f"{len(results)} results of {', '.join(sorted(kinds)) or 'nothing'}",
            "two or more of one study",
            "Load them with the study's load().",
        )
    labels = _labels(results)
    drawn = [result.study.draw(result) for result in results]
    page = Report(drawn[0].title, f"{' and '.join(labels)}, beside each other")
    for label, report in zip(labels, drawn, strict=True):
        page.key_numbers += [(value, f"{words} ({label})") for value, words in report.key_numbers]
    if isinstance(results[0].study, Claim):
        _verdicts(page.section("Verdicts"), dict(zip(labels, results, strict=True)))
    for title in dict.fromkeys(section.title for report in drawn for section in report.sections):
        columns = page.section(title).columns(*labels)
        for number, (column, report) in enumerate(zip(columns, drawn, strict=True), 1):
            for section in report.sections:
                if section.title == title:
                    _copy(page, column, section, f"{number}-")
    for label, report in zip(labels, drawn, strict=True):
        page.provenance({f"{label}: {name}": text for name, text in report.origins})
    return page


def _labels(results: Sequence[Result]) -> list[str]:
    models = [result.study.model for result in results]
    if len(set(models)) == len(models):
        return models
    return [f"{result.study.model} in {result.folder}" for result in results]


def _verdicts(section: Section, results: dict[str, Result]) -> None:
    rules = [result.numbers["rule"] for result in results.values()]
    if any(rule != rules[0] for rule in rules):
        raise InputError(
            "results of claims under other rules", "one rule", "Run them again by the same script."
        )
    every = {label: result.numbers["quantities"] for label, result in results.items()}
    section.figure(plots.verdicts(decided_quantities(every)), "Each quantity of the rule.", name="verdicts")
    first = next(iter(every.values()))
    rows = [
        {
            "quantity": quantity["words"],
            "rule": quantity["condition"],
            **{
                label: f"{interval_words(quantities[row])}: {quantities[row]['verdict']}"
                for label, quantities in every.items()
            },
        }
        for row, quantity in enumerate(first)
    ]
    whole = {label: result.numbers["verdict"] for label, result in results.items()}
    section.table([*rows, {"quantity": "the claim", "rule": "", **whole}], "What the rule says of each.")


def _copy(page: Report, column: Section, section: Section, prefix: str) -> None:
    """The parts of a section, with numbers and names of the page's own."""
    for part in section.parts:
        shown = dict(part.shown)
        if part.kind in ("figure", "table"):
            shown["number"] = len(page.parts(part.kind)) + 1
        if part.kind == "figure":
            shown["name"] = prefix + shown["name"]
        column.add(part.kind, **shown)
