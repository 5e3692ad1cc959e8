"""The code below a figure draws that figure: run alone, with what opens the result."""

from __future__ import annotations

import runpy

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


SCRIPT = f"""
from {__name__} import draw
import collections.abc as kinds
import numpy as np
import xarray as xr
import ditscope as ds
from matplotlib.figure import Figure
from ditscope.report import Report

def own(values):
    return values

def shown(result, section):
    result = result * 2
    section.figure(draw(result, 1.0, words={{"a": "b"}}), "Its own argument, changed.", name="changed")

def lent(values, section):
    section.figure(draw(values, 1.0, words={{"a": "b"}}), "Of who knows where.", name="lent")

report = Report("Code", opening="import xarray as xr\\nresult = xr.DataArray([1.0, 2.0])")
section = report.section("S")
result = xr.DataArray([1.0, 2.0])
metric = ds.metrics.METRICS["psnr"]
max = np.add
values, n = result * 2, 1
made = result * n
n = 2
twice = result * 2
twice = twice + 1
changed = result * 2
changed[0] = 7.0
value = result * 3
section.figure(draw(np.abs(result), len(ds.__name__), words={{"a": kinds.__name__}}), "Modules.", name="modules")
section.figure(draw(xr.concat([value for value in [value]], "x"), 1.0, words={{"a": "b"}}), "Scopes.", name="scopes")
section.figure(draw(result, 1.0, words={{"a": metric.name}}), "An instance.", name="instance")
section.figure(draw(own(result), 1.0, words={{"a": "b"}}), "A script's own.", name="own")
section.figure(draw(twice, 1.0, words={{"a": "b"}}), "Of itself.", name="twice")
section.figure(draw(made, n, words={{"a": "b"}}), "Of another n.", name="made")
section.figure(draw(changed, 1.0, words={{"a": "b"}}), "Changed in place.", name="items")
section.figure(draw(values, 1.0, words={{"a": "b"}}), "Unpacked.", name="unpacked")
section.figure(draw(result, max(1.0, 2.0), words={{"a": "b"}}), "No built-in max.", name="hidden")
shown(result, section)
lent(result, section)
"""
WHOLE = {"modules", "scopes", "instance", "hidden"}


def test_the_code_of_a_script_draws_what_it_drew_or_there_is_none(tmp_path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    ran = runpy.run_path(str(path), run_name="__main__")
    parts = {part["name"]: part for part in ran["report"].parts("figure")}
    assert {name for name, part in parts.items() if part["code"]} == WHOLE
    assert "import collections.abc as kinds\n" in parts["modules"]["code"]
    assert "import ditscope as ds\n" in parts["modules"]["code"]
    for name in WHOLE:
        names: dict = {}
        exec(parts[name]["code"], names)
        assert png(names["figure"]) == parts[name]["data"], name


def test_a_script_that_was_edited_meanwhile_costs_no_more_than_its_code(tmp_path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    program = compile(SCRIPT, str(path), "exec")
    path.write_text("def half(:\n" + SCRIPT)
    names = {"__name__": "__main__"}
    exec(program, names)
    assert [part["code"] for part in names["report"].parts("figure")] == [""] * 11
