"""The first look, small, on the embedded pipeline: every part runs and the report says what was measured."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import ditscope as ds
from ditscope._version import commit
from ditscope.errors import InputError
from ditscope.models import loading
from ditscope.plots._sheet import png
from ditscope.studies import FirstLook
from ditscope.studies.saved import saved_report

SMALL = FirstLook(
    n_prompts=6,
    n_compared=3,
    num_inference_steps=2,
    steps=(0, -1),
    draws=2,
    batch_size=3,
    metrics=("clip_score", "psnr"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    lines: list[str] = []
    return SMALL.run(tmp_path_factory.mktemp("study"), say=lines.append), lines


def test_it_writes_store_report_figures_and_results(finished) -> None:
    result, lines = finished
    names = {path.name for path in result.folder.iterdir()}
    assert {
        "cache.zarr",
        "arrays.zarr",
        "config.json",
        "provenance.json",
        "results.json",
        "report.html",
    } <= names
    figures = ["images", "magnitude", "spectrum", "token_channel", "stability", "samples_needed"]
    figures += ["masks", "mask_iou", "edits", "ablation"]
    assert {path.stem for path in result.folder.glob("*.png")} == set(figures)
    assert len(lines) == 5
    assert ds.open_cache(result.folder / "cache.zarr").complete


def test_the_results_are_the_measured_ones(finished) -> None:
    result, _ = finished
    ranking = ds.passes.rank_channels(ds.open_cache(result.folder / "cache.zarr"))
    assert result.numbers["top_channels"] == ranking.top(SMALL.k).ids.values.tolist()
    effect = (
        result.arrays["comparison"]["effect"].sel(metric="psnr", edit="zero bottom").mean(["draw", "sample"])
    )
    assert result.numbers["effects_mean_low_high"]["psnr"]["zero bottom"][0] == pytest.approx(
        float(effect), abs=1e-4
    )


def test_the_report_states_the_numbers_and_their_limits(finished) -> None:
    result, _ = finished
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    psnr = result.arrays["comparison"]["mean"].sel(metric="psnr", edit="zero massive")
    assert f"{float(psnr):.1f} dB" in page
    assert "not about FLUX.1" in page
    rows = ["zero massive", "mean of massive", "top by std", "pca"]
    assert all(re.search(rf"<t[hd][^>]*>{name}</t[hd]>", page) for name in rows)
    assert "http-equiv" in page
    assert 'src="http' not in page


@pytest.fixture(scope="module")
def drawn_again(finished, tmp_path_factory: pytest.TempPathFactory):
    """The report, drawn where there is neither the recording nor the model, and the folder."""
    copy = tmp_path_factory.mktemp("again") / "copy"
    shutil.copytree(finished[0].folder, copy, ignore=shutil.ignore_patterns("cache.zarr", "*.png", "*.html"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(loading, "load")
        report = saved_report(copy, copy)
        report.write(copy)
    return report, copy


def test_the_code_of_every_figure_draws_it_from_the_folder(drawn_again, monkeypatch) -> None:
    report, folder = drawn_again
    monkeypatch.chdir(folder)
    figures = report.parts("figure")
    assert len(figures) == 10
    for part in figures:
        names: dict = {}
        exec(part["code"], names)
        assert png(names["figure"]) == part["data"], part["name"]


def test_the_report_says_when_how_and_on_what_and_links_what_there_is(finished) -> None:
    result, _ = finished
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    for prompt in SMALL.prompt_list():
        assert prompt in page
    assert result.provenance["date"] in page
    assert "FirstLook(...).run(" in page
    assert commit() is None or f"commit {commit()}" in page
    for name in (
        "results.json",
        "provenance.json",
        "config.json",
        "arrays.zarr",
        "cache.zarr",
        "ablation.png",
    ):
        assert f'href="{name}"' in page
        assert (result.folder / name).exists()


def test_the_report_computes_nothing(finished, drawn_again) -> None:
    (result, _), (_, copy) = finished, drawn_again
    drawn = {path.name for path in copy.iterdir() if path.suffix in (".html", ".png")}
    assert len(drawn) == 11

    def content(path: Path) -> list[bytes]:
        """All but the explorer, in which the recording is missing now."""
        parts = path.read_bytes().partition(b"Look for yourself</h2>")
        return [parts[0], parts[2].partition(b"</section>")[2]]

    assert [name for name in drawn if content(copy / name) != content(result.folder / name)] == []
    page = (result.folder / "report.html").read_text()
    assert "of <code>cache.zarr</code>" in page.partition("Look for yourself</h2>")[2]


def test_unedited_images_are_the_recorded_ones(finished) -> None:
    result, _ = finished
    recorded = result.arrays["images"]["images"].values[: SMALL.n_compared]
    # Batches are grouped alike, so the very same bytes come out.
    assert np.array_equal(result.arrays["comparison"]["baseline_images"].values[:3], recorded[:3])


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(InputError, match="six or more"):
        FirstLook(n_prompts=3)
    with pytest.raises(InputError, match="num_inference_steps="):
        FirstLook(num_inference_steps="many")


def test_the_recorded_steps_follow_the_number_of_steps() -> None:
    assert FirstLook(num_inference_steps=4).step_list() == (0, 1, 2, 3)
    assert FirstLook(num_inference_steps=20).step_list() == (0, 5, 10, 14, 19)
    assert FirstLook(num_inference_steps=1).step_list() == (0,)


def test_the_analysis_is_the_study_as_a_script(capsys, monkeypatch) -> None:
    script = Path(__file__).parents[2] / "analyses/first_look.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--set", "k=3"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().err
    assert (stop.value.code, "no --out" in said) == (2, True), said
