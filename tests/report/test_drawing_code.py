"""The code below a figure draws that figure: run alone, with what opens the result."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ditscope.plots._sheet import png
from ditscope.report import Report

SHOWN = 3


def draw(values: xr.DataArray, scale: float, *, words: dict[str, str]) -> Figure:
    """A small figure of all that it is given."""
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(values * scale, label=words["a"])
    figure.suptitle(words["a"])
    return figure


def made(result: dict[str, xr.DataArray]) -> Report:
    """A report as a study writes one."""
    report = Report("Code", opening="result = opened()")
    section = report.section("S")
    scale, about = 2.5, {"a": "b"}
    values = result["values"]
    first = values[:SHOWN]
    section.figure(draw(first, scale, words=about), "A figure.", name="one").figure(
        draw(
            result["values"],
            max(scale, len(values)),
            words={name: word.upper() for name, word in about.items()},
        ),
        "Another.",
        name="two",
    )
    figure = draw(values, 1.0, words=about)
    section.figure(figure, "Made before.", name="three")
    section.figure(draw(values, 1.0, words=about), "With code of its own.", name="four", code="mine()")
    return report


def test_the_code_of_a_figure_draws_it_again() -> None:
    result = {"values": xr.DataArray(np.arange(5.0), dims="x")}
    one, two, three, four = made(result).parts("figure")
    assert (three["code"], four["code"]) == ("", "mine()")
    assert one["code"].splitlines()[-1] == "figure = draw(first, scale, words=about)"
    assert "scale = 2.5" in one["code"]
    for part in (one, two):
        names: dict = {"opened": lambda: result}
        exec(part["code"], names)
        assert png(names["figure"]) == part["data"]


def test_a_long_value_is_not_written_out_and_without_source_there_is_no_code() -> None:
    report = Report("Code", opening="many = opened()")
    many = {str(at): "x" for at in range(500)}
    report.section("S").figure(draw(xr.DataArray([1.0]), 1.0, words={"a": many["1"]}), "C", name="c")
    code = report.parts("figure")[0]["code"]
    assert "many = opened()" in code
    assert len(code) < 400
    exec(
        compile(
            "report.section('T').figure(draw(values, 1.0, words={'a': 'b'}), 'C', name='d')",
            "<input>",
            "exec",
        ),
        {"report": report, "draw": draw, "values": xr.DataArray([1.0])},
    )
    assert report.parts("figure")[1]["code"] == ""
