"""A metric, a pass, an edit, a figure, a family, a study, a view and a command of others, as CONTRIBUTING has them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import distribution
from ditscope.models.families import known_families

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def shown(kind: str) -> str:
    """The file that the page shows for a kind of extension."""
    start = re.search(rf"^\*\*An? {kind}\*\*", PAGE, re.M)
    return re.search(r"```python\n(.*?)```", PAGE[start.end() :], re.S)[1]


MODULES = {kind: shown(kind) for kind in ("metric", "edit", "pass", "figure", "study", "view", "command")}
MODULES["family"] = """
from dataclasses import replace
from ditscope.models.families.flux import FLUX

MINE = replace(FLUX, name="Mine", pipelines=("MyPipeline",))
NO_FAMILY = 3
"""

ENTRIES = {
    "ditscope.metrics redness": "metric:redness",
    "ditscope.passes loudest": "pass:loudest",
    "ditscope.edits round_to": "edit:round_to",
    "ditscope.plots loudest_channel": "figure:loudest_channel",
    "ditscope.models.families MINE": "family:MINE",
    "ditscope.models.families NO_FAMILY": "family:NO_FAMILY",
    "ditscope.studies Width": "study:Width",
    "ditscope.explorer.views channel_norm": "view:channel_norm",
    "ditscope.cli greet": "command:greet",
}
# One process runs them all, since it takes seconds to import torch and diffusers.
PROOFS = """
import json, sys, traceback
import numpy as np
import xarray as xr
import ditscope as ds

HIDDEN = xr.DataArray(np.eye(4)[None, :3] * [1, 2, 5, 3], dims=("block", "token", "channel"), coords={"block": [0]})

def proof_of_metric():
    images = np.full((2, 8, 8, 3), 7, dtype=np.uint8)
    assert ds.metrics.redness(images).tolist() == [7, 7]
    assert ds.metrics.resolve("redness")["redness"](images).tolist() == [7, 7]

def proof_of_pass():
    assert ds.passes.loudest(HIDDEN).item() == 2

def proof_of_edit():
    made = ds.edits.round_to([3], 2.0, blocks=[0])
    assert ds.edits.from_json(json.loads(json.dumps(made.to_json()))) == made
    options = {"metrics": ["redness", "psnr"], "num_inference_steps": 1, "batch_size": 2, "resamples": 100}
    edits = {"round": made, "matched": ds.controls.matched(made, draws=1)}
    result = ds.compare(ds.load("shapes"), ["a", "b"], [0], edits, **options)
    assert result["unit"].sel(metric="redness") == "levels"
    assert 0 < result["baseline_value"].sel(metric="redness").min() < 255
    assert result["value"].sel(metric="psnr").max() < 100

def proof_of_figure():
    assert ds.plots.loudest_channel(ds.passes.loudest(HIDDEN)).axes

def proof_of_family():
    from ditscope.models.families import family_of, known_families
    assert family_of("MyPipeline").name == "Mine"
    assert len(known_families()) == 1 + int(sys.argv[1])

def proof_of_study():
    said = command_line("study")
    assert "A model has channels." in said, said
    said = command_line("study", "width", "--out", "runs")
    assert "/runs/report.html" in said.split("open ")[-1], said
    assert json.load(open("runs/results.json"))["width"] == 128
    assert "128 channels" in open("runs/report.html").read(), said

def proof_of_view():
    from ditscope.explorer.front_end import module
    from ditscope.explorer.view import Place, answer
    with ds.record(ds.load("shapes"), "looked_at.zarr", blocks=[0]) as recording:
        cache = recording.generate(["a"], seeds=0, num_inference_steps=1)
    asked = {"store": "0", "stream": "image", "site": "block_output", "sample": "0", "step": "0", "branch": "cond",
             "block": "0", "channel": "5"}
    values = cache.hidden().sel(sample=0, step=0, branch="cond", block=0, channel=5)
    said = answer([cache], "channel_norm", asked).values
    assert np.isclose(said["norm"], np.linalg.norm(values)), said
    assert 'frame("Norm of the channel")' in module()

def proof_of_command():
    assert "Greet somebody." in command_line("greet", "--help")
    assert command_line("greet", "--name", "world") == "hello world\\n"

def command_line(*arguments):
    from typer.testing import CliRunner
    from ditscope.cli import app
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output

for kind in sys.argv[2:]:
    try:
        globals()[f"proof_of_{kind}"]()
    except BaseException:
        print(json.dumps([kind, traceback.format_exc()]))
    else:
        print(json.dumps([kind, ""]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    distribution.install(folder, MODULES, ENTRIES)
    panel = re.search(r"```js\n(.*?)```", PAGE, re.S)[1]
    (folder / "plugin" / "view.js").write_text(panel, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def outcomes(site):
    done = distribution.run_beside(site, "-c", PROOFS, str(len(known_families())), *MODULES)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


@pytest.mark.parametrize("kind", MODULES)
def test_somebody_else_adds_one(outcomes, kind):
    assert outcomes[kind] == ""


def test_they_are_there_too_where_the_distribution_is_imported_first(site):
    code = """
import plugin.family, plugin.study
from ditscope.models.families import family_of
from ditscope.studies.study import known_studies
assert family_of("MyPipeline") is plugin.family.MINE
assert known_studies()["width"] is plugin.study.Width
"""
    done = distribution.run_beside(site, "-W", "error::UserWarning:ditscope", "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", MODULES.values(), ids=MODULES)
def test_each_is_short(source):
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
