"""The first look, small, on the embedded pipeline: every part runs and the report says what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import InputError
from ditscope.studies.first_look import FirstLook, run_first_look

SMALL = FirstLook(
    n_prompts=6,
    n_compared=4,
    n_steps=4,
    recorded_steps=(0, -1),
    draws=2,
    batch_size=3,
    metrics=("clip_score", "psnr"),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("study")
    lines: list[str] = []
    return run_first_look(SMALL, folder, say=lines.append), folder, lines


def test_it_writes_store_report_figures_and_results(study) -> None:
    findings, folder, lines = study
    names = {path.name for path in folder.iterdir()}
    assert {
        "cache.zarr",
        "report.html",
        "results.json",
        "ablation.png",
        "masks.png",
        "magnitude.png",
    } <= names
    assert len(lines) == 5
    assert findings.cache.complete


def test_the_results_are_the_measured_ones(study) -> None:
    findings, folder, _ = study
    results = json.loads((folder / "results.json").read_text())
    ranking = ds.passes.rank_channels(ds.open_cache(folder / "cache.zarr"))
    assert results["top_channels"] == ranking.top(SMALL.k).ids.values.tolist()
    effect = findings.comparison["effect"].sel(metric="psnr", edit="zero bottom").mean(["draw", "sample"])
    assert results["effects_mean_low_high"]["psnr"]["zero bottom"][0] == pytest.approx(
        float(effect), abs=1e-4
    )


def test_the_report_states_the_numbers_and_their_limits(study) -> None:
    findings, folder, _ = study
    page = (folder / "report.html").read_text(encoding="utf-8")
    psnr = findings.comparison["mean"].sel(metric="psnr", edit="zero massive")
    assert f"{float(psnr):.1f} dB" in page
    assert "not about FLUX.1" in page
    rows = ["zero massive", "mean of massive", "top by std", "pca"]
    assert all(re.search(rf"<t[hd][^>]*>{name}</t[hd]>", page) for name in rows)
    assert "http-equiv" in page
    assert 'src="http' not in page


def test_unedited_images_are_the_recorded_ones(study) -> None:
    findings, _, _ = study
    recorded = findings.cache.images.values[: SMALL.n_compared]
    # Batches are grouped alike, so the very same bytes come out.
    assert np.array_equal(findings.comparison["baseline_images"].values[:3], recorded[:3])


def test_too_few_prompts_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="six or more"):
        run_first_look(FirstLook(n_prompts=3), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_recorded_steps_follow_the_number_of_steps() -> None:
    assert FirstLook(n_steps=4).step_list() == (0, 1, 2, 3)
    assert FirstLook(n_steps=20).step_list() == (0, 5, 10, 14, 19)
    assert FirstLook(n_steps=1).step_list() == (0,)


def test_another_model_than_the_configured_one_is_refused(dit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one model"):
        run_first_look(SMALL, tmp_path / "out", dit=dit)
    assert not (tmp_path / "out").exists()
