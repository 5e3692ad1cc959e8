"""Reports in columns of one page, with numbers, names and links of their own."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from ditscope.errors import InputError
from ditscope.report import Report
from ditscope.report.side_by_side import side_by_side


def made(word: str) -> Report:
    report = (
        Report(word).key_number(1, "runs").provenance({"model": word}).beside({"numbers": f"{word}.json"})
    )
    figure = Figure(figsize=(2, 1))
    report.section("Both").figure(figure, f"Figure of {word}", name="one").table([{"a": word}], "T")
    report.section(f"Only {word}").text("Alone.")
    return report


def test_sections_of_one_title_are_beside_each_other() -> None:
    page = side_by_side(Report("Two"), [made("a"), made("b")], ["first", "second"])
    assert [section.title for section in page.sections] == ["Both", "Only a", "Only b"]
    assert [part["name"] for part in page.parts("figure")] == ["1-one", "2-one"]
    for kind in ("figure", "table"):
        assert [part["number"] for part in page.parts(kind)] == [1, 2]
    html = page.html()
    for words in ("runs (first)", "second: model", 'href="b.json"', "<h3>second</h3>"):
        assert words in html, words


def test_one_report_and_names_that_come_twice_are_refused() -> None:
    for reports, labels in (([made("a")], ["x"]), ([made("a"), made("b")], ["x", "x"])):
        with pytest.raises(InputError, match="each with a label"):
            side_by_side(Report("Two"), reports, labels)
