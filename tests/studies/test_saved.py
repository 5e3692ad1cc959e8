"""The report of a result whose study may not be at hand."""

from __future__ import annotations

import json

import pytest
import xarray as xr
from figure_data import make_scores
from test_claim_report import Loud, made_claim

from ditscope import plots
from ditscope.errors import InputError
from ditscope.plots._sheet import png
from ditscope.studies.saved import saved_report


@pytest.fixture
def folder(tmp_path):
    """The folder of a claim whose script is not here."""
    claim = made_claim("refuted")
    config = {
        "study": "loud",
        "config": {"model": "shapes", "n_choosing": 10, "seeds": [0], "num_inference_steps": 8},
    }
    config["words"] = {
        "claim": "It is loud.",
        "source": "nobody",
        "design": "Zero it.",
        "controls": ["others"],
    }
    verdict = {part: claim.numbers[part] for part in ("verdict", "quantities", "rule")}
    provenance = {
        "versions": {"torch": "2"},
        "date": "2026-01-02",
        "command": "python loud.py",
        "tested_prompts": ["p"],
    }
    target = tmp_path / "loud"
    target.mkdir()
    for name, value in (
        ("config", config),
        ("results", claim.numbers),
        ("verdict", verdict),
        ("provenance", provenance),
    ):
        (target / f"{name}.json").write_text(json.dumps(value))
    xr.DataTree.from_dict({"values": xr.Dataset({"a": 1.0})}).to_zarr(
        target / "arrays.zarr", consolidated=False
    )
    plots.save_png(plots.channel_spectrum(make_scores()), target / "spectrum.png")
    return target


def test_a_claims_result_has_its_rule_verdict_and_the_figures_of_its_script(folder, tmp_path) -> None:
    report = saved_report(folder, tmp_path / "out")
    html = report.html()
    for words in (
        "It is loud.",
        "Zero it.",
        "others",
        "<strong>refuted</strong>",
        "2026-01-02",
        "python loud.py",
        "in the script of the claim, which the package does not have",
    ):
        assert words in html, words
    assert 'href="../loud/results.json"' in html
    assert "<code>ditscope view .</code> in the folder of the result shows them" in html
    figures = {part["name"]: part for part in report.parts("figure")}
    assert list(figures) == ["verdict", "spectrum"]
    assert figures["spectrum"]["data"] == (folder / "spectrum.png").read_bytes()


def test_the_code_of_the_verdict_draws_it_from_the_folder(folder, tmp_path, monkeypatch) -> None:
    (verdict, _) = saved_report(folder, tmp_path).parts("figure")
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(verdict["code"], names)
    assert png(names["figure"]) == verdict["data"]


def test_a_result_of_a_study_that_nobody_knows_is_refused(folder, tmp_path) -> None:
    numbers = json.loads((folder / "results.json").read_text())
    del numbers["quantities"]
    (folder / "results.json").write_text(json.dumps(numbers))
    with pytest.raises(InputError, match="a result of 'loud'.*or of a claim"):
        saved_report(folder, tmp_path)
    with pytest.raises(InputError, match=r"no results\.json"):
        saved_report(tmp_path, tmp_path)


def test_a_claim_of_an_older_ditscope_is_to_be_run_again(folder, tmp_path) -> None:
    numbers, verdict = (json.loads((folder / f"{name}.json").read_text()) for name in ("results", "verdict"))
    del numbers["prompts_needed"]
    for rule in (numbers["rule"], verdict["rule"]):
        rule["quantities"][0]["half_width"] = rule["quantities"][0].pop("smallest_effect")
    for name, value in (("results", numbers), ("verdict", verdict)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    for load in (lambda: saved_report(folder, tmp_path), lambda: Loud.load(folder)):
        with pytest.raises(InputError, match="a result of an older ditscope.*Run the claim again"):
            load()
