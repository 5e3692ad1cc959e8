"""A claim, small, on an untrained pipeline: choices on some prompts, the rule on the others, and it goes on."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ditscope as ds
from ditscope import plots
from ditscope.errors import InputError
from ditscope.shapes.prompt_sets import prompts as shapes_prompts
from ditscope.studies import (
    Claim,
    Evidence,
    Finding,
    Quantity,
    Rule,
    Work,
    effect_found,
    effect_of,
    prompts_needed,
    tables_of,
)

PROMPTS = tuple(shapes_prompts(5))
SEEN: list[tuple[str, ...]] = []


@dataclass(frozen=True)
class Loud(Claim):
    """A claim as a script would write it."""

    name = "loud"
    claim = "Zeroing massive channels changes the image more than zeroing small ones."
    source = "nobody, nowhere"
    design = "Zero them in the last block."
    controls = ("bottom channels",)
    rule = Rule((Quantity.below("gap", "PSNR, massive less bottom", 0.0, unit="dB", smallest_effect=4.0),))

    def choose(self, trial):
        SEEN.append(trial.prompts)
        return {"block": int(trial.ranking().scores.max("channel").argmax("block"))}

    def test(self, trial, chosen):
        SEEN.append(trial.prompts)
        ranking = trial.ranking()
        assert trial.statistics.samples["prompt"].tolist() == list(PROMPTS[:2])
        edits = {
            "massive": ds.edits.zero(ranking.top(self.k), blocks=[chosen["block"]]),
            "bottom": ds.edits.zero(ranking.bottom(self.k), blocks=[chosen["block"]]),
        }
        compared = trial.compare("edits", edits, ["psnr"])
        images = trial.images("plain")
        np.testing.assert_array_equal(images, compared["baseline_images"])
        assert images["prompt"].values.tolist() == list(trial.prompts)
        assert np.isposinf(trial.score(images, "psnr", images)).all()
        with pytest.raises(InputError, match="made otherwise"):
            trial.images("plain", num_inference_steps=1)
        psnr = effect_of(compared, "psnr")
        table = pd.DataFrame({"prompt": psnr["prompt"].values, "massive": psnr.sel(edit="massive").values})
        return Evidence(
            {"gap": psnr.sel(edit="massive", drop=True) - psnr.sel(edit="bottom", drop=True)},
            {"psnr": psnr.to_dataset(name="psnr")},
            {"psnr": table},
            [Finding("PSNR of equal images is infinite.", True)],
        )

    def figures(self, result):
        return {"psnr": (plots.verdicts(loud_figure(result)), "Which is louder.")}

    def work(self):
        return Work(13, {"statistics": (2, {"tensors": False})})


def loud_figure(result):
    from ditscope.studies.claim_report import decided_quantities

    return decided_quantities({"loud": result.numbers["quantities"]})


def small(dit, **more) -> Loud:
    settings = {"n_choosing": 2, "n_least": 2, "n_most": 3, "num_inference_steps": 2, "batch_size": 3, "k": 3}
    return Loud(model=dit.name, **{"prompts": PROMPTS, **settings, **more})


@pytest.fixture(scope="module")
def finished(dit, tmp_path_factory: pytest.TempPathFactory):
    SEEN.clear()
    folder, lines = tmp_path_factory.mktemp("loud"), []
    return small(dit).run(folder, dit=dit, say=lines.append), lines


def test_no_prompt_is_both_chosen_on_and_tested(finished) -> None:
    result, lines = finished
    choosing, pilot, tested = SEEN[:3]
    assert choosing == pilot == PROMPTS[:2]
    assert set(tested).isdisjoint(choosing)
    assert result.provenance["tested_prompts"] == list(tested)
    assert lines[1:] == [
        "choose on 2 prompts",
        "pilot: how many prompts does it take?",
        f"test on {len(tested)} other prompts",
    ]


def test_the_number_of_prompts_follows_from_the_pilot(finished) -> None:
    result, _ = finished
    power = result.numbers["power"][0]
    assert power["smallest_effect"] == 4.0
    assert power["prompts_needed"] == prompts_needed(power["sd"], 4.0)
    assert result.numbers["prompts_needed"] == max(power["prompts_needed"], 2)
    assert result.numbers["prompts_tested"] == min(max(power["prompts_needed"], 2), 3)
    assert power["effect_found"] == effect_found(power["sd"], result.numbers["prompts_tested"])


def test_another_draw_has_other_prompts() -> None:
    first, second = ({*a, *b} for a, b in (Loud(prompt_draw=draw).prompt_lists() for draw in (1, 2)))
    assert len(first) == len(second) == 70
    assert len(first & second) < 5


def test_the_verdict_is_that_of_the_saved_values(finished) -> None:
    result, _ = finished
    verdict = json.loads((result.folder / "verdict.json").read_text())
    decision = Loud.rule.decide({"gap": result.arrays["values_gap"]["value"]})
    assert verdict["verdict"] == decision.verdict
    assert verdict["quantities"] == list(decision.quantities)
    assert verdict["rule"] == Loud.rule.to_json()
    table = pd.read_csv(result.folder / "psnr.csv")
    np.testing.assert_allclose(table["massive"], result.arrays["psnr"]["psnr"].sel(edit="massive"))
    assert tables_of(result)["psnr"]["prompt"].tolist() == result.provenance["tested_prompts"]


def test_a_second_run_goes_on_from_what_is_there(finished, dit, tmp_path: Path) -> None:
    result, _ = finished
    folder = tmp_path / "again"
    shutil.copytree(result.folder, folder)
    before = {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and "sweep" in str(path)
    }
    assert {"pilot", "test"} == {path.relative_to(folder).parts[0] for path in before}
    again = small(dit).run(folder, dit=dit, say=lambda line: None)
    assert again.numbers["quantities"] == result.numbers["quantities"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_the_report_needs_the_saved_result_alone(finished, tmp_path: Path) -> None:
    result, _ = finished
    page = (result.folder / "report.html").read_text()
    assert result.numbers["verdict"] in page
    assert "nobody, nowhere" in page
    assert {"verdict.png", "psnr.png", "psnr.csv"} <= {path.name for path in result.folder.iterdir()}
    copy = tmp_path / "copy"
    shutil.copytree(result.folder, copy, ignore=shutil.ignore_patterns("pilot", "test", "*.html", "*.png"))
    Loud.report(copy)
    here, there = (
        path.read_text().partition("<main>")[2]
        for path in (copy / "report.html", result.folder / "report.html")
    )
    explorer = re.compile("(?<=Look for yourself</h2>).*?(?=</section>)", re.S)
    assert explorer.sub("", here) == explorer.sub("", there)
    assert "no recording or sweep is with the result" in explorer.search(here)[0]
    assert "of <code>test/" in explorer.search(there)[0]


def test_prompts_that_come_twice_and_too_few_are_refused(dit) -> None:
    with pytest.raises(InputError, match="3 different prompts of 4"):
        small(dit, prompts=("a", "b", "c", "c"))
    with pytest.raises(InputError, match="to choose on and at least 9"):
        small(dit, n_least=9, n_most=9)
    with pytest.raises(InputError, match="n_least=4"):
        small(dit, n_least=4)


def test_the_embedded_prompts_are_split_whatever_their_number() -> None:
    for claim in (Loud(), Loud(n_choosing=30, n_most=200), Loud(model="a/model")):
        choosing, others = claim.prompt_lists()
        assert (len(choosing), len(others)) == (claim.n_choosing, claim.n_most)
        assert len({*choosing, *others}) == len(choosing) + len(others)
