"""What every study has from its type: a result that is saved whole, and a report drawn from it alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from zarr.codecs import BytesCodec

from ditscope.errors import InputError
from ditscope.report import Report
from ditscope.studies.study import Measured, Result, Study, known_studies

VALUES = xr.Dataset(
    {
        "effect": (("edit", "draw"), np.array([[1.0, np.nan], [2.0, 3.0]])),
        "right": ("edit", np.array([True, False])),
        "image": (("y", "x"), np.arange(6, dtype=np.uint8).reshape(2, 3)),
        "word": ("edit", np.array(["a <b>", "ü"])),
    },
    coords={
        "edit": ["zero massive", "b"],
        "draw": [0, 1],
        "block_name": ("draw", ["double.0", "single.10"]),
        "k": 6,
    },
    attrs={"tau": 0.9, "site": "block_output"},
)
# As of an array that was made of stored bytes.
VALUES["effect"].encoding = {"serializer": BytesCodec(endian=None)}


@dataclass(frozen=True)
class Small(Study):
    """A study as another distribution would write it."""

    name = "small"
    claim = "Two edits differ."

    levels: tuple[float, ...] = (0.5, 1.0)
    breaks: bool = False

    def measure(self, dit, folder, progress) -> Measured:
        progress("count blocks")
        if self.breaks:
            raise ZeroDivisionError
        (folder / "recording").touch()
        return Measured({"blocks": len(dit.blocks)}, {"values": VALUES}, {"seeds": [0, 1]})

    def draw(self, result: Result) -> Report:
        report = Report(self.claim)
        report.section("Values").table(result.arrays["values"]["effect"], f"Levels {self.levels}.")
        return report.provenance({"seeds": result.provenance["seeds"]})


@pytest.fixture(scope="module")
def finished(dit, tmp_path_factory: pytest.TempPathFactory):
    folder, lines = tmp_path_factory.mktemp("small"), []
    study = Small(model=dit.name, levels=(0.25,))
    return study, study.run(folder, dit=dit, say=lines.append), lines


def test_the_result_is_saved_whole(finished, dit) -> None:
    study, result, lines = finished
    assert lines == ["open the model and check it against plain hooks", "count blocks"]
    assert result.study == study
    xr.testing.assert_identical(result.arrays["values"], VALUES)
    saved = json.loads((result.folder / "results.json").read_text())
    assert saved == result.numbers
    assert saved["blocks"] == 10
    assert saved["config"]["levels"] == [0.25]
    assert list(saved["seconds"]) == lines
    assert all(claim["holds"] for claim in result.provenance["check"])
    assert "torch" in result.provenance["versions"]
    assert "values" in repr(result)


def test_xarray_opens_the_arrays_by_itself(finished) -> None:
    _, result, _ = finished
    code = (
        "import sys, xarray as xr; tree = xr.open_datatree(sys.argv[1], engine='zarr', consolidated=False); "
        "assert tree['values']['effect'].sel(edit='b', draw=1) == 3"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(result.folder / "arrays.zarr")], check=True
    )


def test_the_report_is_drawn_from_the_result_alone(finished, tmp_path: Path) -> None:
    _, result, _ = finished
    shutil.copytree(
        result.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("report.html", "recording")
    )
    assert Small.report(tmp_path / "copy").read_bytes() == (result.folder / "report.html").read_bytes()


def test_a_result_stays_until_the_next_is_complete(finished, dit, tmp_path: Path) -> None:
    _, result, _ = finished
    shutil.copytree(result.folder, tmp_path / "copy")
    with pytest.raises(ZeroDivisionError):
        Small(model=dit.name, breaks=True).run(tmp_path / "copy", dit=dit, say=str)
    assert Small.load(tmp_path / "copy").study == result.study


def test_settings_survive_json() -> None:
    study = Small(levels=(1.0, 2.0))
    assert Small.of(json.loads(json.dumps(study.settings()))) == study
    with pytest.raises(InputError, match="setting of small 'level'"):
        Small.of({"level": 1})


def test_what_is_no_result_of_the_study_is_refused(finished, tmp_path: Path) -> None:
    _, result, _ = finished
    with pytest.raises(InputError, match=r"no results\.json"):
        Small.load(tmp_path)
    for study in known_studies().values():
        with pytest.raises(InputError, match="a result of small"):
            study.load(result.folder)


def test_another_model_than_the_configured_one_is_refused(dit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one model"):
        Small(model="shapes").run(tmp_path / "out", dit=dit)
    assert not (tmp_path / "out").exists()


def test_studies_are_known_by_name() -> None:
    assert known_studies()["first_look"].claim
    assert "small" not in known_studies()
