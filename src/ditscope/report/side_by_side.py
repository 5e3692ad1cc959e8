"""Several reports in one page, section by section in columns."""

from __future__ import annotations

from collections.abc import Sequence

from ditscope.errors import InputError
from ditscope.report.page import Report, Section


def side_by_side(page: Report, reports: Sequence[Report], labels: Sequence[str]) -> Report:
    """Add the sections of reports to a page, those of one title in columns beside each other.

    Args:
        page: begun; sections that it has come first.
        reports: two or more.
        labels: what each is called.

    Raises:
        InputError: fewer reports, or labels that are not one for each.
    """
    if len(reports) < 2 or len(set(labels)) != len(reports):
        raise InputError(f"{len(reports)} reports", "two or more, each with a label", "Pass another one.")
    for label, report in zip(labels, reports, strict=True):
        page.key_numbers += [(value, f"{words} ({label})") for value, words in report.key_numbers]
    for title in dict.fromkeys(section.title for report in reports for section in report.sections):
        columns = page.section(title).columns(*labels)
        for number, (column, report) in enumerate(zip(columns, reports, strict=True), 1):
            for section in report.sections:
                if section.title == title:
                    _copy(page, column, section, f"{number}-")
    for label, report in zip(labels, reports, strict=True):
        page.provenance({f"{label}: {name}": text for name, text in report.origins})
        page.beside({f"{label}: {what}": name for what, name in report.files})
    return page


def _copy(page: Report, column: Section, section: Section, prefix: str) -> None:
    """The parts of a section, with numbers and names of the page's own."""
    for part in section.parts:
        shown = dict(part.shown)
        if part.kind in ("figure", "table"):
            shown["number"] = len(page.parts(part.kind)) + 1
        if part.kind == "figure":
            shown["name"] = prefix + shown["name"]
        column.add(part.kind, **shown)
