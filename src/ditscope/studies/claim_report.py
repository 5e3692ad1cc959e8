"""The report of a claim under test: what was claimed, the rule, the verdict, and whether the method can be trusted."""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import xarray as xr

from ditscope import plots
from ditscope.report.page import Report, Section
from ditscope.studies.power import POWER
from ditscope.studies.study import files, origins, scope_of

if TYPE_CHECKING:
    from ditscope.studies.claim import Claim
    from ditscope.studies.study import Result

__all__ = ["tables_of"]

_OPENING = """import json
from types import SimpleNamespace
result = SimpleNamespace(numbers=json.load(open("results.json")))  # in the folder of the result"""


def draw_claim(result: Result) -> Report:
    """The report of a saved result of a :class:`ditscope.studies.claim.Claim`."""
    claim = cast("Claim", result.study)
    numbers = result.numbers
    report = Report(claim.claim, f"{claim.source}. Tested on {claim.model}.", opening=_OPENING)
    report.key_number(numbers["verdict"], f"on {claim.model}, by a rule written before the run")
    report.key_number(numbers["prompts_tested"], "prompts that no choice was made on")
    _design(report.section("Design and rule"), result)
    _verdict(report.section("Verdict"), result)
    section = report.section("What was measured")
    for name, (figure, caption) in claim.figures(result).items():
        section.figure(figure, caption, name=name, code="")
    if code := _source_of(claim):
        section.code(code, folded="The code that draws these figures")
    for name, table in tables_of(result).items():
        section.table(table, name.replace("_", " "))
    _validity(report.section("Can the method be trusted?"), numbers["validity"])
    settings = {name: str(value) for name, value in numbers["config"].items() if value is not None}
    tables = {f"table: {name.replace('_', ' ')}": f"{name}.csv" for name in numbers["tables"]}
    report.provenance({"model": numbers["model"], "settings": settings, **origins(result)})
    return report.beside({**files(result), "verdict": "verdict.json", **tables})


def tables_of(result: Result) -> dict[str, pd.DataFrame]:
    """The tables of a saved claim, by name."""
    return {
        name: pd.DataFrame(table["data"], columns=table["columns"])
        for name, table in result.numbers["tables"].items()
    }


def _source_of(claim: Claim) -> str:
    """The method that draws a claim's figures, as it is written; nothing where there is no source."""
    try:
        return textwrap.dedent(inspect.getsource(type(claim).figures))
    except (AttributeError, OSError, TypeError):
        return ""


def decided_quantities(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> xr.Dataset:
    """Quantities of one or several results under one rule, as ``plots.verdicts`` draws them.

    Args:
        results: by name of the result, the ``quantities`` of its numbers.
    """
    first = next(iter(results.values()))
    most = max(len(each["refutes"]) for each in first)
    refutes = np.full((len(first), most, 2), np.nan)
    for row, each in enumerate(first):
        for at, ends in enumerate(each["refutes"]):
            refutes[row, at] = ends_of(ends)
    dims = ("result", "quantity")
    measured = {
        part: (dims, [[_value(each[part]) for each in quantities] for quantities in results.values()])
        for part in ("mean", "low", "high")
    }
    return xr.Dataset(
        {
            **measured,
            "supports": (("quantity", "end"), [ends_of(each["supports"]) for each in first]),
            "refutes": (("quantity", "range", "end"), refutes),
        },
        coords={
            "result": list(results),
            "quantity": [each["name"] for each in first],
            "words": ("quantity", [each["words"] for each in first]),
            "unit": ("quantity", [each["unit"] for each in first]),
            "verdict": (dims, [[each["verdict"] for each in quantities] for quantities in results.values()]),
        },
    )


def _design(section: Section, result: Result) -> None:
    claim = cast("Claim", result.study)
    numbers = result.numbers
    if claim.design:
        section.text(claim.design)
    if claim.controls:
        section.text("**Held against:** " + "; ".join(claim.controls) + ".")
    chosen = ", ".join(f"{name} {value}" for name, value in numbers["chosen"].items())
    section.text(
        f"Choices were made on {claim.n_choosing} prompts ({chosen or 'nothing but the channels of the ranking'}); the "
        f"rule looks at {numbers['prompts_tested']} others, seeds {', '.join(map(str, claim.seeds))}, "
        f"{claim.num_inference_steps} steps. {claim.rule.sentence} Intervals are over prompts and hold together in "
        f"{100 * claim.rule.level:g} % of studies."
    )
    rows = [
        {"quantity": each["words"], "unit": each["unit"], "rule": each["condition"]}
        for each in numbers["quantities"]
    ]
    section.table(rows, "The rule, written before the run.")
    if numbers["power"]:
        section.text(power_words(numbers))
        section.table(
            [{name.replace("_", " "): value for name, value in row.items()} for row in numbers["power"]],
            f"Prompts needed to find the smallest effect of interest beyond a threshold in {100 * POWER:g} % of "
            "studies, from the spread over the choosing prompts; and the effect that as many as were tested find so.",
        )


def _verdict(section: Section, result: Result) -> None:
    numbers = result.numbers
    model = result.study.model
    quantities = numbers["quantities"]
    about = {"model": model, "prompts": numbers["prompts_tested"]}
    section.figure(
        plots.verdicts(decided_quantities({model: quantities}), about=about),
        "What the rule looks at, against its thresholds.",
        name="verdict",
    )
    rows = [
        {
            "quantity": each["words"],
            "unit": each["unit"],
            **{part: each[part] for part in ("mean", "low", "high")},
            "verdict": each["verdict"],
        }
        for each in quantities
    ]
    section.table(rows, "Quantities with their intervals.")
    parts = "; ".join(f"{each['words']}: {interval_words(each)} ({each['verdict']})" for each in quantities)
    section.finding(
        f"On {model} the claim is **{numbers['verdict']}**. {parts}.",
        {
            "supported": "What the claim says was found here, against the controls that it was held to.",
            "refuted": "What the claim says was not found here: the interval lies where the rule said that it would "
            "speak against it.",
            "undecided": "The intervals do not lie on one side: the data fit the claim and its contrary.",
        }[numbers["verdict"]],
        f"{scope_of(model)} The rule has thresholds, which are choices; they were made before the run.",
    )


def _validity(section: Section, findings: Sequence[Mapping[str, Any]]) -> None:
    if not findings:
        section.text("Nothing is known here of how far the method itself can be trusted.")
        return
    said = {True: "yes", False: "NO", None: "cannot be told"}
    rows = [{"what was looked at": each["statement"], "trusted": said[each["trusted"]]} for each in findings]
    section.table(rows, "Where the truth is known, does the method find it?")


def power_words(numbers: Mapping[str, Any]) -> str:
    """How many prompts the pilot asked for, if it could; and, where it got fewer, which effects so many find.

    Args:
        numbers: of a result, or its ``verdict.json``.
    """
    tested, needed = numbers["prompts_tested"], numbers["prompts_needed"]
    if all(row["sd"] is None for row in numbers["power"]):
        return f"No spread over prompts was known from the pilot, so it asked for no number; {tested} were tested."
    if needed <= tested:
        return f"The pilot asked for no more prompts than the {tested} that were tested."
    units = {each["name"]: f" {each['unit']}".rstrip() for each in numbers["quantities"]}
    short = [row for row in numbers["power"] if (row["prompts_needed"] or 0) > tested]
    effects = "; ".join(
        f"{row['quantity']} {row['effect_found']:.3g}{units[row['quantity']]} (of interest: {row['smallest_effect']:g})"
        for row in short
    )
    return (
        f"The pilot asked for {needed} prompts and the design's limit is {tested}. In {100 * POWER:g} % of studies so "
        f"many find what lies beyond a threshold by {effects}."
    )


def interval_words(quantity: Mapping[str, Any]) -> str:
    """``0.12 [0.05, 0.2] dB``, or what is there of it."""
    if quantity["low"] is None:
        return "no interval"
    unit = f" {quantity['unit']}" if quantity["unit"] else ""
    return f"{quantity['mean']:.3g} [{quantity['low']:.3g}, {quantity['high']:.3g}]{unit}"


def ends_of(ends: Sequence[float | None]) -> list[float]:
    """Both ends of a range of a saved rule, infinite where it has none."""
    low, high = ends
    return [-math.inf if low is None else low, math.inf if high is None else high]


def _value(number: float | None) -> float:
    return math.nan if number is None else number
