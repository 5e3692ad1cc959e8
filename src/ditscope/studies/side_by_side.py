"""Two results of one study, of two models or two runs, beside each other in one page."""

from __future__ import annotations

from collections.abc import Sequence

from ditscope import plots
from ditscope.errors import InputError
from ditscope.report.page import Report, Section
from ditscope.report.side_by_side import side_by_side as reports_beside
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
        InputError: fewer, the same one twice, of other studies, or of claims under other rules.
    """
    kinds = {type(result.study).__name__ for result in results}
    if len(results) < 2 or len(kinds) > 1:
        raise InputError(
            f"{len(results)} results of {', '.join(sorted(kinds)) or 'nothing'}",
            "two or more of one study",
            "Load them with the study's load().",
        )
    labels = _labels(results)
    if len(set(labels)) < len(labels):
        raise InputError("one result twice", "two or more results", "Name another folder.")
    drawn = [result.study.draw(result) for result in results]
    page = Report(drawn[0].title, f"{' and '.join(labels)}, beside each other")
    if isinstance(results[0].study, Claim):
        _verdicts(page.section("Verdicts"), dict(zip(labels, results, strict=True)))
    for report in drawn:
        report.files.clear()  # it is not known from where they would be linked
    return reports_beside(page, drawn, labels)


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
